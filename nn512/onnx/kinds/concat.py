"""Concat in ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nn512.graph import Concat
from nn512.graph.axes import AXES, extent_of
from nn512.graph.kinds.concat import MOST_TENSORS
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import MANY, Rule, axis_of, integer
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: Concat) -> Iterator[Any]:
    yield maker.last("Concat", list(layer.reads), axis=1 + AXES.index(layer.axis))


CONCAT = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    """Any number of tensors, as many at a time as one layer takes."""
    tensors = [work.tensor(node, i) for i in range(len(node.reads))]
    axis = axis_of(integer(node, "axis", 1), len(tensors[0].dims))
    first = tensors[0].dims
    for tensor in tensors:
        if tensor.dims[:axis] + tensor.dims[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise work.misplaced(tensor, "the other inputs are")
    letter = _letter(work, tensors, axis)
    along = AXES[view.AXES.index(letter)]
    if len(tensors) == 1:
        return tensors[0]
    name, *rest = (tensor.name for tensor in tensors)
    taken = 1
    while rest:
        now, rest = rest[: MOST_TENSORS - 1], rest[MOST_TENSORS - 1 :]
        taken += len(now)
        writes = f"{node.writes[0]}.first{taken}" if rest else None
        name = _joined(work, node, [name, *now], along, writes)
    extent = extent_of(work.shapes[name], along)
    return Tensor(name, (*first[:axis], view.whole(letter, extent), *first[axis + 1 :]))


def _joined(work: Work, node: OnnxNode, names: Sequence[str], along: str, writes: str | None) -> str:
    first, second, *others = names
    more: dict[str, Any] = {f"from_tensor{number}": name for number, name in enumerate(others, 3)}
    return work.emit(node, lambda to: Concat(first, second, to, axis=along, **more), writes=writes)


def _letter(work: Work, tensors: Sequence[Tensor], axis: int) -> str:
    """Which of C, H and W an ONNX axis is: the whole of it for all tensors.

    One of size 1 goes by its place, or else is the first of those that no tensor has more of.
    """
    letters = {tensor.dims[axis][0].axis for tensor in tensors if tensor.dims[axis]}
    rank = len(tensors[0].dims)
    shapes = [work.shapes[tensor.name] for tensor in tensors]
    if not letters and axis > 0:
        thin = {letter for letter, sizes in zip(view.AXES, zip(*shapes, strict=True), strict=True) if max(sizes) == 1}
        if all(tensor.dims == view.usual(shape, rank) for tensor, shape in zip(tensors, shapes, strict=True)):
            thin = {("CHW" if rank == 4 else "CW")[axis - 1]}
        letters = set(sorted(thin, key=view.AXES.index)[:1])
    if len(letters) == 1:
        (letter,) = letters
        wholes = (view.whole(letter, work.shapes[t.name][view.AXES.index(letter)]) for t in tensors)
        if all(tensor.dims[axis] == whole for tensor, whole in zip(tensors, wholes, strict=True)):
            return letter
    raise RefusedError(
        f"axis={axis}", "an axis that is all channels, rows or columns", soft=any(t.moved for t in tensors)
    )


CONCAT_RULES = (
    Rule(
        "Concat",
        _read,
        f"Concat, one for every {MOST_TENSORS} tensors",
        {"axis": "that of channels, rows or columns"},
        inputs=MANY,
    ),
)
