"""Concat in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Concat
from nn512.onnx import view
from nn512.onnx.chains import chain
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import MANY, Rule, axis_of, integer
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: Concat) -> Iterator[Any]:
    yield maker.last("Concat", [layer.from_tensor1, layer.from_tensor2], axis=1)


CONCAT = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    """Channels of any number of tensors, joined two by two from the left."""
    tensors = [work.tensor(node, i) for i in range(len(node.reads))]
    axis = axis_of(integer(node, "axis", 1), len(tensors[0].dims))
    first = tensors[0].dims
    for tensor in tensors:
        if tensor.dims[:axis] + tensor.dims[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise work.misplaced(tensor, "the other inputs are")
        if tensor.dims[axis] != view.whole("C", work.shapes[tensor.name].channels):
            raise RefusedError(f"axis={axis}", "the axis of channels", soft=bool(tensor.moved))
    name = chain(work, node, tensors, Concat)
    channels = view.whole("C", work.shapes[name].channels)
    return Tensor(name, (*first[:axis], channels, *first[axis + 1 :]))


CONCAT_RULES = (Rule("Concat", _read, "Concat, one for every two tensors", {"axis": "that of channels"}, inputs=MANY),)
