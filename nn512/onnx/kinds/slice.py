"""Slice in ONNX, and Split and Gather, which are slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nn512.arrays import Array
from nn512.graph import Slice
from nn512.graph.axes import AXES
from nn512.onnx import view
from nn512.onnx.folding import fold
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, Rule, axis_of, integer
from nn512.onnx.view import Dim, Dims, Factor
from nn512.onnx.work import Tensor, Value, Work
from nn512.params import show_shape


def _nodes(maker: NodeMaker, layer: Slice) -> Iterator[Any]:
    bounds = {"first": layer.first, "end": layer.last + 1, "axis": 1 + AXES.index(layer.axis), "step": layer.step}
    for name, value in bounds.items():
        yield maker.inner("Constant", name, [], name, value_ints=[value])
    yield maker.last("Slice", [layer.from_tensor, *map(maker.own, bounds)])


SLICE = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read_slice(work: Work, node: OnnxNode) -> Tensor:
    """What is left of every axis, one after another."""
    shape = _shape(work, node)
    bounds = [work.constant(node, i, "bounds") if node.has(i) else None for i in range(1, len(node.reads))]
    kept = [_of_one(node, shape, axis, bounds, work.opset) for axis in range(len(shape))]
    return _sliced(work, node, node.writes[0], kept)


def _of_one(node: OnnxNode, shape: Sequence[int], axis: int, bounds: Sequence[Array | None], opset: int) -> Array:
    """The places along an axis that a Slice keeps: those of their own numbers."""
    numbers = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    found = fold(node, [np.broadcast_to(numbers, shape), *bounds], opset)
    assert found is not None
    if not found[0].size:
        raise RefusedError(f"nothing is left of {'x'.join(map(str, shape))}", "at least one number")
    return np.moveaxis(found[0], axis, 0).reshape(found[0].shape[axis], -1)[:, 0]


def _read_split(work: Work, node: OnnxNode) -> list[Value]:
    """One part after another."""
    shape = _shape(work, node)
    axis = axis_of(integer(node, "axis", 0), len(shape))
    numbers = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    given = work.constant(node, 1, "sizes of the parts") if node.has(1) else None
    parts = fold(node, [numbers, given], work.opset)
    assert parts is not None
    if any(part.size == 0 for part in parts):
        raise RefusedError("parts of nothing", "parts of at least one number")
    whole = [np.arange(size) for size in shape]
    return [
        _sliced(work, node, writes or f"{node.label}.part{number}", [*whole[:axis], part.ravel(), *whole[axis + 1 :]])
        for number, (writes, part) in enumerate(zip(node.writes, parts, strict=True))
    ]


def _read_gather(work: Work, node: OnnxNode) -> Tensor:
    """Places at equal distances; indices of several axes split the one that they are of."""
    shape = _shape(work, node)
    axis = axis_of(integer(node, "axis", 0), len(shape))
    indices = work.constant(node, 1, "indices")
    places = indices.astype(np.int64).reshape(-1)
    if not places.size or places.min() < -shape[axis] or places.max() >= shape[axis]:
        raise RefusedError(f"indices={show(tuple(places.tolist()))}", "a row of places at equal distances")
    whole = [np.arange(size) for size in shape]
    kept = _sliced(work, node, node.writes[0], [*whole[:axis], places % shape[axis], *whole[axis + 1 :]])
    seen = view.reshaped(kept.dims[axis : axis + 1], indices.shape)
    if seen is None:
        raise RefusedError(f"indices of {show_shape(indices.shape)}", "a row of places, or axes split as a whole")
    moved = (*kept.moved, node) if indices.ndim > 1 else kept.moved
    return Tensor(kept.name, (*kept.dims[:axis], *seen, *kept.dims[axis + 1 :]), moved)


def _shape(work: Work, node: OnnxNode) -> tuple[int, ...]:
    found = work.value(node, 0)
    return found.shape if isinstance(found, Tensor) and found.padding is None else work.tensor(node).shape


def _sliced(work: Work, node: OnnxNode, writes: str, kept: Sequence[Array]) -> Tensor:
    """The part of what a node reads that has these places of every axis."""
    x = work.value(node, 0)
    assert isinstance(x, Tensor)
    left = [axis for axis, places in enumerate(kept) if not np.array_equal(places, np.arange(x.shape[axis]))]
    if not left:
        return x
    x = work.tensor(node)
    for number, axis in enumerate(left, 1):
        name = writes if number == len(left) else f"{writes}.sliced{number}"
        x = _along(work, node, x, (axis, kept[axis]), name)
    return x


def _along(work: Work, node: OnnxNode, x: Tensor, what: tuple[int, Array], writes: str) -> Tensor:
    """The places of one axis."""
    axis, places = what
    first, count = int(places[0]), len(places)
    step = int(places[1]) - first if count > 1 else 1
    if step < 1 or not np.array_equal(places, first + step * np.arange(count)):
        raise RefusedError(f"{show(tuple(places.tolist()))} of axis {axis}", "places at equal distances, in order")
    dim = x.dims[axis]
    factor = dim[0] if len(dim) == 1 else None
    if factor is not None:
        letter = view.AXES.index(factor.axis)
        extent, along = work.shapes[x.name][letter], AXES[letter]
        if factor.size * factor.stride == extent and (step == 1 or factor.stride == 1):  # the slowest, or all of it
            stride = factor.stride
            made = (first * stride, count * stride, step)
            dims = _replaced(x.dims, axis, (Factor(factor.axis, count, stride),) if count > 1 else ())
        elif factor.stride == 1 and count == 1:  # one of neighbours
            made = (first, extent // factor.size, factor.size)
            dims = tuple(_thinned(each, factor) for each in _replaced(x.dims, axis, ()))
        else:
            raise _misplaced(x, axis)
        name = work.emit(node, lambda to: Slice(x.name, to, *made, axis=along), writes=writes)
        return Tensor(name, dims, x.moved)
    raise _misplaced(x, axis)


def _misplaced(x: Tensor, axis: int) -> RefusedError:
    return RefusedError(f"a part of axis {axis}", "an axis that is channels, rows or columns", soft=bool(x.moved))


def _replaced(dims: Dims, axis: int, dim: Dim) -> Dims:
    return (*dims[:axis], dim, *dims[axis + 1 :])


def _thinned(dim: Dim, gone: Factor) -> Dim:
    """An axis where of every `gone.size` neighbours there is one."""
    return tuple(
        factor._replace(stride=factor.stride // gone.size) if factor.axis == gone.axis else factor for factor in dim
    )


_BECOMES = "Slice of channels, rows or columns; nothing, of everything"

SLICE_RULES = (
    Rule("Slice", _read_slice, _BECOMES, {"starts": ANY, "ends": ANY, "axes": ANY}, inputs=5),
    Rule("Split", _read_split, "Slice, one for every part", {"axis": ANY, "split": ANY, "num_outputs": ANY}, inputs=2),
    Rule("Gather", _read_gather, "Slice; indices are constants at equal distances", {"axis": ANY}, inputs=2),
)
