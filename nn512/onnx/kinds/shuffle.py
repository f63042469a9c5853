"""Shuffle in ONNX: the channels split into groups, turned, and put together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nn512.graph import Shuffle
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.plumbing import turned
from nn512.onnx.rules import ANY, Rule
from nn512.onnx.view import Dim, Factor
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: Shuffle) -> Iterator[Any]:
    yield maker.inner("Shape", "shape", [layer.from_tensor], "shape")
    yield maker.inner("Constant", "groups", [], "groups", value_ints=[1, layer.groups, -1])
    yield maker.inner("Shape", "picture", [layer.from_tensor], "picture", start=2)
    yield maker.inner("Concat", "apart", [maker.own("groups"), maker.own("picture")], "apart", axis=0)
    yield maker.inner("Reshape", "split", [layer.from_tensor, maker.own("apart")], "split")
    yield maker.inner("Transpose", "turned", [maker.own("split")], "turned", perm=[0, 2, 1, 3, 4])
    yield maker.last("Reshape", [maker.own("turned"), maker.own("shape")])


SHUFFLE = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def shuffled(work: Work, name: str, tensor: Tensor) -> Tensor | None:
    """A tensor under the name, as a layer that has its channels in order; None where a Shuffle does not give that."""
    if tensor.padding is not None or tensor.name not in work.shapes:
        return None
    channels = work.shapes[tensor.name].channels
    for axis, dim in enumerate(tensor.dims):
        groups = _groups(dim, channels)
        if groups:
            node = tensor.moved[-1] if tensor.moved else OnnxNode("Transpose", (), (name,))  # an element-wise layer did
            made = work.emit(node, lambda to, groups=groups: Shuffle(tensor.name, to, groups), writes=name)  # type: ignore[misc]
            whole = view.whole("C", channels)
            return replace(tensor, name=made, dims=(*tensor.dims[:axis], whole, *tensor.dims[axis + 1 :]))
    return None


def _groups(dim: Dim, channels: int) -> int:
    """Into how many groups the channels were split that an axis runs through across them; 0 where it does not."""
    match dim:
        case (Factor(axis="C", size=size, stride=1), Factor(axis="C", size=groups, stride=stride)):
            return groups if stride == size and size * groups == channels else 0
        case _:
            return 0


SHUFFLE_RULES = (
    Rule(
        "Transpose",
        turned,
        "nothing: a view; weights behind it are permuted. Between two Reshapes that split channels, Shuffle",
        {"perm": ANY},
    ),
)
