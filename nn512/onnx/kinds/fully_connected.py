"""FullyConnected in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from nn512.arrays import Array
from nn512.graph import Conv, FullyConnected, Parameter
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, Rule, integer, need, real
from nn512.onnx.work import Tensor, Work
from nn512.params import show_shape


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


# --- and back ---------------------------------------------------------------------------------------------------------


def _read_gemm(work: Work, node: OnnxNode) -> Tensor:
    """The sum alpha * A * B + beta * C, where A is a row that depends on inputs."""
    need("transA", integer(node, "transA", 0), 0)
    x = work.tensor(node, rows=True)
    weights = work.constant(node, 1, "weights")
    if weights.ndim != 2 or len(x.dims) != 2:
        raise RefusedError(f"factors of {len(x.dims)} and {weights.ndim} axes", "2 axes each")
    weights = weights if integer(node, "transB", 0) else weights.T
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    if alpha != 1:
        weights = weights * np.float32(alpha)
    biases = None
    if node.has(2):
        biases = work.constant(node, 2, "biases")
        try:
            biases = np.broadcast_to(biases, (1, len(weights)))[0]
        except ValueError:
            raise RefusedError(f"biases are {show_shape(biases.shape)}", "one for every output") from None
        if beta != 1:
            biases = biases * np.float32(beta)
    return _product(work, node, x, weights, biases)


def _read_matmul(work: Work, node: OnnxNode) -> Tensor:
    """A product with a matrix of constants on its right."""
    x = work.tensor(node, rows=True)
    weights = work.constant(node, 1, "factors on the right")
    rank = max(len(x.dims), weights.ndim)
    if weights.ndim > 2 and prod(weights.shape[:-2]) == 1:
        weights = weights.reshape(weights.shape[-2:])
    if weights.ndim != 2 or len(x.dims) < 2:
        raise RefusedError(f"factors of {len(x.dims)} and {weights.ndim} axes", "a matrix on the right")
    product = _product(work, node, x, weights.T, None)
    return Tensor(product.name, ((),) * (rank - len(x.dims)) + product.dims)


def _product(work: Work, node: OnnxNode, x: Tensor, weights: Array, biases: Array | None) -> Tensor:
    """Every row of x times weights (outputs x inputs): a fully connected layer, or a 1x1 convolution of many rows."""
    *rows, row = x.dims
    shape = work.shapes[x.name]
    outputs, inputs = weights.shape
    if inputs != x.shape[-1]:
        raise RefusedError(f"{show_shape(x.shape)} times {inputs} x {outputs}", "factors that fit")
    bare = biases is None
    params = {"Biases": np.zeros(outputs, np.float32) if biases is None else biases}
    last = view.whole("C", outputs)
    if not any(rows) and view.covers(row, shape):
        order = view.order_of(row, shape)
        params["Weights"] = weights if (order[1:] > order[:-1]).all() else weights[:, order]
        name = work.emit(node, lambda to: FullyConnected(x.name, to, outputs), params, stem=node.reads[1], bare=bare)
    elif row == view.whole("C", shape.channels):
        params["Weights"] = weights
        name = work.emit(node, lambda to: Conv(x.name, to, outputs, 1, 1), params, stem=node.reads[1], bare=bare)
    else:
        raise work.misplaced(x, "rows of all elements, or of the channels of a pixel")
    return Tensor(name, (*rows, last))


FULLY_CONNECTED_RULES = (
    Rule(
        "Gemm",
        _read_gemm,
        "FullyConnected; Flatten or Reshape in front of it is a matter of weights",
        {"alpha": ANY, "beta": ANY, "transA": "0", "transB": "0, 1"},
        inputs=3,
    ),
    Rule(
        "MatMul",
        _read_matmul,
        "FullyConnected, or a 1x1 Conv where rows are pixels; the right factor is constant",
        inputs=2,
    ),
)
