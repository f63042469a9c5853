"""LayerNorm in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn512.graph import LayerNorm
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.parts import CENTRED
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import Rule, axis_of, integer, need, one_output, real, shortest
from nn512.onnx.view import merged
from nn512.onnx.work import Tensor, Work
from nn512.params import show_shape


def _nodes(maker: NodeMaker, layer: LayerNorm) -> Iterator[Any]:
    """ONNX normalizes over the last axes, so channels go there and come back."""
    yield maker.inner("Transpose", "turn", [layer.from_tensor], "turned", perm=[0, 2, 3, 1])
    parameters = [maker.parameter(suffix) for suffix in ("Scales", "Shifts")]
    reads = [maker.own("turned"), *parameters]
    yield maker.inner("LayerNormalization", "norm", reads, "normed", axis=-1, epsilon=layer.epsilon)
    yield maker.last("Transpose", [maker.own("normed")], perm=[0, 3, 1, 2])


LAYER_NORM = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def normalized(work: Work, node: OnnxNode, what: str) -> tuple[Tensor, float]:
    """What a normalization over the last axes reads, whose channels must be all of these, and its epsilon."""
    need("stash_type", integer(node, "stash_type", 1), 1)
    one_output(node, what)
    x = work.tensor(node, rows=True)
    axis = axis_of(integer(node, "axis", -1), len(x.dims))
    if merged([factor for dim in x.dims[axis:] for factor in dim]) != view.whole("C", work.shapes[x.name].channels):
        raise RefusedError(f"axis={axis} of {show_shape(x.shape)}", "the axis of channels", soft=bool(x.moved))
    epsilon = shortest(real(node, "epsilon", 1e-5))
    if not epsilon >= 0:
        raise RefusedError(f"epsilon={epsilon:g}", "0 and more")
    return x, epsilon


def _read(work: Work, node: OnnxNode) -> Tensor:
    x, epsilon = normalized(work, node, "the mean or the factor")
    scales = work.constant(node, 1, "scales")
    shifts = work.constant(node, 2, "shifts") if node.has(2) else np.zeros(scales.size)
    params = {"Scales": scales, "Shifts": shifts}
    return Tensor(work.emit(node, lambda to: LayerNorm(x.name, to, epsilon), params, stem=node.reads[1]), x.dims)


def over_channels(work: Work, node: OnnxNode) -> tuple[Tensor, float]:
    """What a normalization in parts reads, whose channels must be the axis that it is over, and its epsilon."""
    x = work.tensor(node, rows=node.attributes["axes"] != (1,))  # which is where pictures have channels
    axis = axis_of(node.attributes["axes"][0], len(x.dims))
    if merged(x.dims[axis]) != view.whole("C", work.shapes[x.name].channels):
        raise RefusedError(f"axes={axis} of {show_shape(x.shape)}", "the axis of channels", soft=bool(x.moved))
    epsilon = shortest(node.attributes["epsilon"])
    if not 0 <= epsilon < float("inf"):
        raise RefusedError(f"epsilon={epsilon:g}", "0 and more")
    return x, epsilon


def _read_parts(work: Work, node: OnnxNode) -> Tensor:
    x, epsilon = over_channels(work, node)
    channels = work.shapes[x.name].channels
    params = {"Scales": np.ones(channels), "Shifts": np.zeros(channels)}
    return Tensor(work.emit(node, lambda to: LayerNorm(x.name, to, epsilon), params), x.dims)


CENTRED_RULE = Rule(CENTRED, _read_parts, "LayerNorm", {"axes": "that of channels", "epsilon": "0 and more"})

LAYER_NORM_RULES = (
    Rule(
        "LayerNormalization",
        _read,
        "LayerNorm; so do ReduceMean, Sub, Pow or Mul, ReduceMean, Add, Sqrt and Div that together are one",
        {"axis": "that of channels", "epsilon": "0 and more", "stash_type": "1"},
        inputs=3,
    ),
)
