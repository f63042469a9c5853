"""Squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507): a factor for every channel, from the averages of all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nn512.graph.examples.builder import Builder
from nn512.graph.nodes import Activation, Layer, Mul

_RELU = partial(Activation, kind="ReLU")
_SIGMOID = partial(Activation, kind="Sigmoid")


def excite(
    builder: Builder,
    source: str,
    name: str,
    channels: int,
    squeezed: int,
    *,
    between: Callable[[str, str], Layer] = _RELU,
    gate: Callable[[str, str], Layer] = _SIGMOID,
) -> str:
    """Averages, two layers through `squeezed` channels, and the product of `source` with what they give."""
    tensor = builder.pool(source, f"{name}average", "AvgGlobal")
    tensor = builder.conv(tensor, f"{name}squeezeConv", squeezed, 1)
    tensor = builder.layer(between(tensor, f"{name}squeeze"))
    tensor = builder.conv(tensor, f"{name}exciteConv", channels, 1)
    tensor = builder.layer(gate(tensor, f"{name}excite"))
    return builder.layer(Mul(source, tensor, f"{name}scaled"))
