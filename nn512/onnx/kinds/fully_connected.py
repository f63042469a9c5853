"""FullyConnected in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from nn512.graph import FullyConnected, Parameter
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: FullyConnected) -> Iterator[Any]:
    """A product of matrices, which runtimes do faster than a convolution whose filter is the whole tensor."""
    yield maker.inner("Flatten", "flatten", [layer.from_tensor], "flat", axis=1)
    factors = [maker.own("flat"), maker.parameter("Weights"), maker.parameter("Biases")]
    yield maker.inner("Gemm", "gemm", factors, "row", transB=1)
    yield maker.inner("Constant", "axes", [], "axes", value_ints=[2, 3])
    yield maker.last("Unsqueeze", [maker.own("row"), maker.own("axes")])


def _declared(parameter: Parameter) -> tuple[int, ...]:
    """Weights as K x CHW, which in memory is K x C x H x W."""
    outputs, *rest = parameter.shape
    return (outputs, prod(rest)) if rest else parameter.shape


FULLY_CONNECTED = Export(_nodes, _declared)
