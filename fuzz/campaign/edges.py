"""Systematic instead of random: for every kernel the nets that together have each edge class that it declares.

Nets are compiled, which takes no C compiler, and those kept of which a layer has a class that none before had. So a
few hundred builds see all classes of all kernels; which of them were verified is counted as in every campaign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fuzz.case import Case, DataSeed
from fuzz.draw.edges import edge_nets
from nn512.compiler import compile as compile_graph
from nn512.kernels.registry import kernel_named
from nn512.options import Options

EDGE_REGIMES = ("exact", "taps", "impulse", "gaussian", "nonfinite", "tiles")
"""Data of nets for edge classes: integers and single numbers, of which a wrong lane or tap changes a bit."""


def edge_cases(kernel: str, regimes: Iterable[str], seed: int) -> Iterator[Case]:
    """Cases for the edge classes of a kernel, until all that it declares have been seen or nets are at an end."""
    chosen = kernel_named(kernel)
    data = tuple(DataSeed(regime, seed) for regime in regimes)
    declared, seen = set(chosen.edge_classes), set[str]()
    for one in edge_nets(chosen):
        if declared <= seen:
            return
        options = Options(without_passes=one.without, force=(("", kernel),))
        layers = compile_graph(one.text, options).plan.layers
        found = {name for layer in layers if layer.kernel == kernel for name in layer.edge_classes}
        if found - seen:
            seen |= found
            yield Case(one.text, options.to_dict(), data=data)


def declared_by(kernels: Iterable[str]) -> frozenset[tuple[str, str]]:
    """All edge classes that kernels declare, each with the kernel's name."""
    return frozenset((name, edge) for name in kernels for edge in kernel_named(name).edge_classes)
