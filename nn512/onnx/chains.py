"""A node of many inputs as a chain of layers of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nn512.graph import Layer
from nn512.onnx.model import OnnxNode
from nn512.onnx.work import Tensor, Work


def chain(work: Work, node: OnnxNode, tensors: Sequence[Tensor], make: Callable[[str, str, str], Layer]) -> str:
    """The name of the last layer; that of the tensor itself where there is only one."""
    name = tensors[0].name
    for index, tensor in enumerate(tensors[1:], 2):
        part = "" if index == len(tensors) else f"{node.writes[0]}.first{index}"
        before = name
        name = work.emit(node, lambda to, a=before, b=tensor.name: make(a, b, to), writes=part or None)  # type: ignore[misc]
    return name
