"""Larger and plainer relatives of a small failing net: what is common to those that fail as well belongs to the fault.

A net as small as it gets has its edge classes and its pattern of wrong elements by chance: a single pixel is first and
last at once, and whether a row is padded depends on which numbers were lowered first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz.campaign.reduce import unpadded
from fuzz.judge.report import Report
from nn512.graph import Conv, Graph, GraphError, Input, Node, Pooling, build

_GROWTH = ((0, 0, 0), (0, 11, 13), (34, 0, 0), (34, 11, 13))
"""Channels, rows and columns by which inputs are larger; odd, so that there are remainders of everything."""


def probes(graph: Graph) -> Iterator[Graph]:
    """Relatives of a graph: legal ones only, and not the graph itself."""
    plainer = next(iter(unpadded(graph)), graph)
    kinds: list[tuple[Graph, tuple[int, int, int], int | None]] = []
    kinds += [(base, growth, None) for base in (graph, plainer) for growth in _GROWTH]
    kinds += [(plainer, _GROWTH[1], stride) for stride in (1, 2)]
    seen = {tuple(_nodes(graph))}
    for base, growth, stride in kinds:
        nodes = tuple(_stepping(_grown(node, growth), stride) for node in _nodes(base))
        if nodes not in seen:
            seen.add(nodes)
            with contextlib.suppress(GraphError):
                yield build(nodes)


def _nodes(graph: Graph) -> Iterator[Node]:
    yield from (graph.config, *graph.inputs, *graph.layers, *graph.outputs)


def _stepping(node: Node, stride: int | None) -> Node:
    """`node` with another stride, if it is one that strides as numbers say."""
    if stride is None or not (isinstance(node, Conv) or (isinstance(node, Pooling) and node.kind in {"Max", "Avg"})):
        return node
    return replace(node, stride_h=stride, stride_w=stride)


def _grown(node: Node, by: tuple[int, int, int]) -> Node:
    if not isinstance(node, Input):
        return node
    channels, rows, columns = by
    return replace(node, channels=node.channels + channels, height=node.height + rows, width=node.width + columns)


def fault_of(report: Report, look: Callable[[Graph], Report | None]) -> Report:
    """The report with the edge classes and the pattern that all its relatives have which fail, too.

    `look` checks a relative; None where it does not fail in the same way, or may not be tried.
    """
    kernel = "" if report.place is None else report.place.layer.kernel
    common = classes_of(report, kernel)
    best = report.ever_wrong()
    for graph in probes(report.graph):
        found = look(graph)
        if found is None:
            continue
        classes = classes_of(found, kernel)
        if kernel and not any(layer.kernel == kernel for layer in found.layers):
            continue  # another kernel computes the larger net
        common &= classes
        wrong = found.ever_wrong()
        if wrong is not None and (best is None or wrong.compared > best.compared):
            best = wrong
    return replace(report, classes=tuple(sorted(common)), pattern="" if best is None else best.key)


def classes_of(report: Report, kernel: str) -> set[str]:
    """Edge classes of the layers with this kernel, of all where it is not known, without numbers."""
    layers = [layer for layer in report.layers if kernel in {"", layer.kernel}]
    return {without_numbers(one) for layer in layers for one in layer.edge_classes}


def without_numbers(text: str) -> str:
    """Every number becomes #, but a 0 that stands alone: it says that a thing is not there."""
    return re.sub(r"(?<![0-9])(?!\b0\b(?!\.[0-9]))(?:0x[0-9a-f]+|[0-9]+(?:\.[0-9]+)?)", "#", text)
