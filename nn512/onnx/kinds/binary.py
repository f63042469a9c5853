"""Add in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Add
from nn512.onnx.affine import affine, constant_of
from nn512.onnx.chains import chain
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import MANY, Rule
from nn512.onnx.work import Known, Tensor, Work
from nn512.params import show_shape


def _nodes(maker: NodeMaker, layer: Add) -> Iterator[Any]:
    yield maker.last("Add", [layer.from_tensor1, layer.from_tensor2])


ADD = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    """Sums of tensors, two by two from the left; constants are added to the first of them."""
    known = [read for i, read in enumerate(node.reads) if isinstance(work.value(node, i), Known)]
    tensors = [work.tensor(node, i) for i, read in enumerate(node.reads) if read not in known]
    if any(tensor.shape != tensors[0].shape for tensor in tensors):
        shapes = " and ".join(show_shape(tensor.shape) for tensor in tensors)
        raise RefusedError(f"sum of {shapes}", "tensors of one shape")
    if any(tensor.dims != tensors[0].dims for tensor in tensors):
        raise work.misplaced(next(t for t in tensors if t.dims != tensors[0].dims), "the first summand is")
    if len(tensors) > 1:
        if known:
            raise RefusedError("sum of several tensors and constants", "either")
        return Tensor(chain(work, node, tensors, Add), tensors[0].dims)
    if len(known) > 1:
        raise RefusedError("sum of a tensor and several constants", "one constant")
    return affine(work, node, tensors[0], None, constant_of(work, known[0]) if known else None)


ADD_RULES = (
    Rule("Add", _read, "Add; of a constant, biases or the shifts of a BatchNorm", inputs=2),
    Rule("Sum", _read, "Add, one for every two tensors", inputs=MANY),
)
