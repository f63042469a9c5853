"""RMSNorm in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn512.graph import Parameter, RMSNorm
from nn512.onnx.kinds.layer_norm import normalized, over_channels
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.parts import PLAIN
from nn512.onnx.rules import Rule
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: RMSNorm) -> Iterator[Any]:
    """Operator set 17 has it in parts alone."""
    x, own = layer.from_tensor, maker.own
    yield maker.inner("Mul", "square", [x, x], "squares")
    yield maker.inner("ReduceMean", "mean", [own("squares")], "power", axes=[1])
    yield maker.inner("Constant", "epsilon", [], "epsilon", value_float=layer.epsilon)
    yield maker.inner("Add", "add", [own("power"), own("epsilon")], "sum")
    yield maker.inner("Sqrt", "root", [own("sum")], "rms")
    yield maker.inner("Div", "divide", [x, own("rms")], "normed")
    yield maker.last("Mul", [own("normed"), maker.parameter("Scales")])


def _declared(parameter: Parameter) -> tuple[int, ...]:
    """As it is broadcast along the axes behind the channels."""
    return (*parameter.shape, 1, 1)


RMS_NORM = Export(_nodes, _declared)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    x, epsilon = normalized(work, node, "the factor")
    params = {"Scales": work.constant(node, 1, "scales")}
    return Tensor(work.emit(node, lambda to: RMSNorm(x.name, to, epsilon), params, stem=node.reads[1]), x.dims)


def _read_parts(work: Work, node: OnnxNode) -> Tensor:
    x, epsilon = over_channels(work, node)
    params = {"Scales": np.ones(work.shapes[x.name].channels)}
    return Tensor(work.emit(node, lambda to: RMSNorm(x.name, to, epsilon), params), x.dims)


PLAIN_RULE = Rule(PLAIN, _read_parts, "RMSNorm", {"axes": "that of channels", "epsilon": "0 and more"})

_ATTRIBUTES = {"axis": "that of channels", "epsilon": "0 and more", "stash_type": "1"}

RMS_NORM_RULES = (
    Rule("RMSNormalization", _read, "RMSNorm; so do Pow or Mul, ReduceMean, Add, Sqrt and Div", _ATTRIBUTES, inputs=2),
    Rule("SimplifiedLayerNormalization", _read, "RMSNorm", _ATTRIBUTES, inputs=2),
)
