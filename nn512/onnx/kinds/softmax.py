"""Softmax in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Softmax
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import Rule, axis_of, integer
from nn512.onnx.view import merged
from nn512.onnx.work import Tensor, Work
from nn512.params import show_shape


def _nodes(maker: NodeMaker, layer: Softmax) -> Iterator[Any]:
    yield maker.last("Softmax", [layer.from_tensor], axis=1)


SOFTMAX = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    """Shares over the channels. Before operator set 13 all axes from `axis` on were one."""
    x = work.tensor(node)
    old = work.opset < 13
    axis = axis_of(integer(node, "axis", 1 if old else -1), len(x.dims))
    summed = x.dims[axis:] if old else x.dims[axis : axis + 1]
    if merged([factor for dim in summed for factor in dim]) != view.whole("C", work.shapes[x.name].channels):
        raise RefusedError(f"axis={axis} of {show_shape(x.shape)}", "the axis of channels", soft=bool(x.moved))
    return Tensor(work.emit(node, lambda to: Softmax(x.name, to)), x.dims)


SOFTMAX_RULES = (Rule("Softmax", _read, "Softmax", {"axis": "that of channels"}),)
