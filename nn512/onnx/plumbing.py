"""Rules of operators that compute nothing: views, names, and padding that the next layer takes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from nn512.onnx import view
from nn512.onnx.folding import axes_given, shape_part, squeezed, target_shape, unsqueezed
from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, IGNORED, Rule, axis_of, integer, integers, need, real, text
from nn512.onnx.view import Dims
from nn512.onnx.work import Known, Lost, Padding, Tensor, Value, Work
from nn512.params import show_shape

_FLOATS = (1, 10, 11, 16)
"""Types of ONNX that are floating point: float32, float16, float64, bfloat16."""


def _raw(work: Work, node: OnnxNode, *, padded: bool = False) -> Tensor:
    """What a node reads, before it is known which axis of an input is which."""
    found = work.value(node, 0)
    if isinstance(found, Tensor) and (padded or found.padding is None):
        return found
    return work.any_tensor(node) if padded else work.tensor(node)


def _viewed(node: OnnxNode, x: Tensor, dims: Dims) -> Tensor:
    return replace(x, dims=dims, moved=(*x.moved, node))


def _same(work: Work, node: OnnxNode) -> Tensor:
    return _raw(work, node, padded=True)


def _dropout(work: Work, node: OnnxNode) -> list[Value]:
    """Nothing, outside training. The mask that it may write is no tensor of ours."""
    if node.has(2) and work.constant(node, 2, "training_mode").any():
        raise RefusedError("training_mode=1", "training_mode=0")
    values: list[Value] = [_raw(work, node, padded=True)]
    if any(node.writes[1:]):
        mask = RefusedError("the mask is read", "the first output alone")
        values.append(work.refuse(replace(node, writes=node.writes[1:]), mask, [None])[0])
    return values


def _cast(work: Work, node: OnnxNode) -> Tensor:
    need("to", integer(node, "to", 0), *_FLOATS)
    return _raw(work, node, padded=True)


def _cast_like(work: Work, node: OnnxNode) -> Value:
    """To the type of another tensor; what depends on an input is float32."""
    value, like = work.value(node, 0), work.value(node, 1)
    if isinstance(like, Lost) or (isinstance(like, Tensor) and not work.is_computed(like)):
        raise RefusedError(f"{node.reads[1]!r} may be of any type", "float32, float16, float64", soft=True)
    kind = like.array.dtype if isinstance(like, Known) else np.dtype(np.float32)
    if isinstance(value, Known):
        return Known(value.array.astype(kind))
    if kind.kind != "f":
        raise RefusedError(f"to {kind}", "float32, float16, float64")
    return _raw(work, node, padded=True)


def _reshape(work: Work, node: OnnxNode) -> Tensor:
    x = _raw(work, node)
    shape = target_shape(node, x.shape, work.constant(node, 1, "shape"))
    return _viewed(node, x, _under(x, shape))


def _under(x: Tensor, shape: Sequence[int]) -> Dims:
    dims = view.reshaped(x.dims, shape)
    if dims is None:
        raise RefusedError(f"{show_shape(x.shape)} to {show_shape(tuple(shape))}", "axes split and merged as a whole")
    return dims


def _flatten(work: Work, node: OnnxNode) -> Tensor:
    x = _raw(work, node)
    rank = len(x.dims)
    axis = integer(node, "axis", 1)
    if axis != rank:
        axis = axis_of(axis, rank)
    return _viewed(node, x, _under(x, (prod(x.shape[:axis]), prod(x.shape[axis:]))))


def _squeeze(work: Work, node: OnnxNode) -> Tensor:
    x = _raw(work, node)
    axes = axes_given(node, work.constant(node, 1, "axes") if node.has(1) else None)
    return _viewed(node, x, tuple(x.dims[i] for i in squeezed(x.shape, axes)))


def _unsqueeze(work: Work, node: OnnxNode) -> Tensor:
    x = _raw(work, node)
    places = unsqueezed(len(x.dims), axes_given(node, work.constant(node, 1, "axes") if node.has(1) else None))
    dims = list(x.dims)
    for place in places:
        dims.insert(place, ())
    return _viewed(node, x, tuple(dims))


def turned(work: Work, node: OnnxNode) -> Tensor:
    """Transpose: the same tensor with its axes in another order."""
    x = _raw(work, node, padded=True)
    rank = len(x.dims)
    order = integers(node, "perm", range(rank)[::-1]) or ()
    if sorted(order) != list(range(rank)):
        raise RefusedError(f"perm={show(order)} of {rank} axes", "every axis once")
    found = _viewed(node, x, tuple(x.dims[i] for i in order))
    if x.padding is None:
        return found
    return replace(found, padding=replace(x.padding, pads=tuple(x.padding.pads[i] for i in order)))


def _expand(work: Work, node: OnnxNode) -> Tensor:
    x = _raw(work, node)
    wanted = tuple(int(size) for size in work.constant(node, 1, "shape").reshape(-1))
    try:
        shape = np.broadcast_shapes(x.shape, wanted)
    except ValueError:
        shape = wanted
    if shape != x.shape:
        raise RefusedError(f"{show_shape(x.shape)} to {show_shape(shape)}", "the shape that it has")
    return x


def _shape(work: Work, node: OnnxNode) -> Value:
    x = _raw(work, node, padded=True)
    if node.operator == "Size":
        return Known(np.asarray(prod(x.shape), np.int64))
    return Known(shape_part(node, x.shape))


def _pad(work: Work, node: OnnxNode) -> Tensor:
    """Padding that is left to the convolution or pooling behind it, with that of a Pad of the same value before it."""
    mode = text(node, "mode", "constant")
    need("mode", mode, "constant")
    x = _raw(work, node, padded=True)
    rank = len(x.dims)
    if work.opset < 11:
        pads, value = integers(node, "pads", ()) or (), real(node, "value", 0.0)
    else:
        pads = tuple(int(size) for size in work.constant(node, 1, "pads").reshape(-1))
        value = float(work.constant(node, 2, "value").reshape(-1)[0]) if node.has(2) else 0.0
    chosen = [int(axis) for axis in work.constant(node, 3, "axes").reshape(-1)] if node.has(3) else range(rank)
    axes = [axis_of(axis, rank) for axis in chosen]
    if len(pads) != 2 * len(axes) or len(set(axes)) < len(axes):
        raise RefusedError(f"pads={show(pads)}", f"{2 * len(axes)} numbers")
    if min((*pads, 0)) < 0:
        raise RefusedError(f"pads={show(pads)}", "0 and more")
    if not any(pads):
        return x
    if x.padding is not None and x.padding.value != value:
        x = work.tensor(node)
    around = [(0, 0)] * rank if x.padding is None else list(x.padding.pads)
    for i, axis in enumerate(axes):
        before, behind = around[axis]
        around[axis] = before + pads[i], behind + pads[len(axes) + i]
    return replace(x, padding=Padding(node, value, tuple(around)))


_VIEW = "nothing: a view, where axes stay whole"

PLUMBING_RULES = (
    Rule("Identity", _same, "nothing"),
    Rule("Dropout", _dropout, "nothing", {"ratio": IGNORED, "seed": IGNORED}, inputs=3),
    Rule(
        "Cast",
        _cast,
        "nothing, between floating point types: all is float32",
        {"to": "float32, float16, bfloat16, float64", "saturate": IGNORED, "round_mode": IGNORED},
    ),
    Rule("CastLike", _cast_like, "nothing, or a constant", {"saturate": IGNORED, "round_mode": IGNORED}, inputs=2),
    Rule("Reshape", _reshape, _VIEW, {"allowzero": ANY}, inputs=2),
    Rule("Flatten", _flatten, _VIEW, {"axis": ANY}),
    Rule("Squeeze", _squeeze, _VIEW, {"axes": ANY}, inputs=2),
    Rule("Unsqueeze", _unsqueeze, _VIEW, {"axes": ANY}, inputs=2),
    Rule("Expand", _expand, "nothing, to the shape that is there", inputs=2),
    Rule("Shape", _shape, "a constant", {"start": ANY, "end": ANY}),
    Rule("Size", _shape, "a constant"),
    Rule(
        "Pad",
        _pad,
        "the padding of the Conv or Pooling behind it",
        {"mode": "constant", "pads": "0 and more", "value": "0; -inf in front of MaxPool"},
        inputs=4,
    ),
)
"""Operators that become no layer."""
