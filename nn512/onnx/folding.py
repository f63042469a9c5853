"""Nodes that depend on no input, computed once: shapes, and constants of many spellings.

Only what models compute shapes and constants with. No result may be larger than MOST_ELEMENTS, which is asked before
memory is taken: a model of a hundred bytes can ask for terabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from nn512.arrays import Array
from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import axis_of, integer, integers, need, real
from nn512.params import show_shape

MOST_ELEMENTS = 1 << 28
"""Elements of an input, and of a constant that is repeated without taking memory: 1 GiB of float32."""

MOST_COMPUTED = 1 << 26
"""Elements of a constant that is computed."""

TYPES: Mapping[int, str] = MappingProxyType(
    {
        1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32",
        7: "int64", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
    }
)  # fmt: skip
"""Types of ONNX whose numbers numpy has, by number."""

_Arrays: TypeAlias = Sequence[Array | None]
_Fold: TypeAlias = Callable[[OnnxNode, Sequence[Any], int], Any]


def fold(node: OnnxNode, read: _Arrays, opset: int) -> tuple[Array, ...] | None:
    """What a node of constants writes; None for operators that are not computed here. Raises RefusedError."""
    function = FOLDS.get(node.operator)
    if function is None:
        return None
    if sum(array.size for array in read if array is not None) > MOST_COMPUTED and node.operator not in _MOVING:
        raise RefusedError("constants too large to compute with", f"{MOST_COMPUTED:,} numbers")
    try:
        with np.errstate(all="ignore"):
            result = function(node, read, opset)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise RefusedError(f"cannot be computed of {_told(node, read)}", "constants that fit") from error
    return result if isinstance(result, tuple) else (np.asarray(result),)


def _told(node: OnnxNode, read: _Arrays) -> str:
    """What a node is computed of: its constants and attributes."""
    inputs = ["nothing" if array is None else f"{array.dtype} {show_shape(array.shape)}" for array in read]
    return ", ".join([*inputs, *(f"{name}={show(value)}" for name, value in node.attributes.items())]) or "nothing"


def room(shape: Sequence[int], most: int = MOST_COMPUTED) -> tuple[int, ...]:
    """The shape, if a constant may be so large."""
    if any(size < 0 for size in shape) or prod(shape) > most:
        raise RefusedError(f"a constant of {'x'.join(map(str, shape))}", f"at most {most:,} numbers")
    return tuple(map(int, shape))


def target_shape(node: OnnxNode, shape: Sequence[int], wanted: Array) -> tuple[int, ...]:
    """The shape that a Reshape asks for."""
    sizes = [int(size) for size in wanted.reshape(-1)]
    if not integer(node, "allowzero", 0):
        sizes = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(sizes)]
    stated = prod([size for size in sizes if size != -1])
    if sizes.count(-1) == 1 and stated:
        rest, left = divmod(prod(shape), stated)
        sizes = [rest if size == -1 and not left else size for size in sizes]
    if min(sizes, default=0) < 0 or prod(sizes) != prod(shape):
        wanted_text = "x".join(map(str, sizes)) or "a single number"
        raise RefusedError(f"{'x'.join(map(str, shape))} cannot become {wanted_text}", "as many elements")
    return tuple(sizes)


def axes_given(node: OnnxNode, array: Array | None) -> tuple[int, ...] | None:
    """Axes that are an attribute in old operator sets and an input in new ones."""
    found = integers(node, "axes", None)
    return tuple(int(axis) for axis in array.reshape(-1)) if array is not None else found


def squeezed(shape: Sequence[int], axes: Sequence[int] | None) -> tuple[int, ...]:
    """The axes that Squeeze keeps."""
    rank = len(shape)
    gone = {i for i in range(rank) if shape[i] == 1} if axes is None else {axis_of(axis, rank) for axis in axes}
    wrong = sorted(i for i in gone if shape[i] != 1)
    if wrong:
        raise RefusedError(f"axis {wrong[0]} is {shape[wrong[0]]}", "axes of 1")
    return tuple(i for i in range(rank) if i not in gone)


def unsqueezed(rank: int, axes: Sequence[int] | None) -> tuple[int, ...]:
    """Where Unsqueeze puts new axes, counted in its result."""
    if axes is None:
        raise RefusedError("axes are missing", "axes")
    total = rank + len(axes)
    places = sorted(axis_of(axis, total) for axis in axes)
    if len(set(places)) < len(places):
        raise RefusedError("an axis is named twice", "axes that differ")
    return tuple(places)


# --- one function for every operator ----------------------------------------------------------------------------------


def _constant(node: OnnxNode, _: _Arrays, __: int) -> Array:
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for name, value in node.attributes.items():
        if name == "value" and isinstance(value, np.ndarray):
            return value
        if name in kinds:
            return np.asarray(value, kinds[name])
    raise RefusedError(f"attributes {', '.join(node.attributes)}", "numbers")


def _constant_of_shape(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.reshape(()), room(read[0].reshape(-1).tolist(), MOST_ELEMENTS))


def _expand(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    shape = np.broadcast_shapes(read[0].shape, tuple(map(int, read[1])))
    return np.broadcast_to(read[0], room(shape, MOST_ELEMENTS))


def _cast(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    to = integer(node, "to", 0)
    need("to", to, *TYPES)
    return np.asarray(read[0].astype(TYPES[to]))


def _cast_like(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    value, like = read
    return np.asarray(value.astype(like.dtype))


def _gather(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    data, indices = read
    axis = axis_of(integer(node, "axis", 0), data.ndim)
    room((data.size // max(data.shape[axis], 1), indices.size))
    return np.asarray(np.take(data, indices, axis))


def _concat(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    return np.concatenate(read, axis_of(integer(node, "axis", 1), read[0].ndim))


def _reshape(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    return np.asarray(read[0].reshape(target_shape(node, read[0].shape, read[1])))


def _flatten(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    axis = integer(node, "axis", 1)
    shape = read[0].shape
    axis = axis if axis >= 0 else axis + len(shape)
    return np.asarray(read[0].reshape(prod(shape[:axis]), prod(shape[axis:])))


def _squeeze(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    shape = read[0].shape
    return np.asarray(read[0].reshape([shape[i] for i in squeezed(shape, axes_given(node, _second(read)))]))


def _unsqueeze(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    return np.expand_dims(read[0], unsqueezed(read[0].ndim, axes_given(node, _second(read))))


def _second(read: Sequence[Any]) -> Array | None:
    return read[1] if len(read) > 1 else None


def _transpose(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    return np.transpose(read[0], integers(node, "perm", None))


def _slice(node: OnnxNode, read: Sequence[Any], opset: int) -> Array:
    data = read[0]
    if opset < 10:
        starts, ends = integers(node, "starts", ()) or (), integers(node, "ends", ()) or ()
        axes, steps = integers(node, "axes", range(len(starts))) or (), (1,) * len(starts)
    else:
        starts, ends = _row(read, 1, "starts") or (), _row(read, 2, "ends") or ()
        named, given = _row(read, 3, "axes"), _row(read, 4, "steps")
        axes = tuple(range(len(starts))) if named is None else named
        steps = (1,) * len(starts) if given is None else given
    bounds = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    if len({len(row) for row in bounds.values()}) > 1:
        told = ", ".join(f"{len(row)} {name}" for name, row in bounds.items())
        raise RefusedError(told, "as many of each")
    if len({axis_of(axis, data.ndim) for axis in axes}) < len(axes):
        raise RefusedError(f"axes={show(tuple(axes))} name an axis twice", "axes that differ")
    if 0 in steps:
        raise RefusedError(f"steps={show(tuple(steps))}", "steps other than 0")
    chosen = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = data.shape[axis_of(axis, data.ndim)]
        backwards = step < 0
        low = max(start + size, -1 if backwards else 0) if start < 0 else start
        high = end + size if end < 0 else end
        chosen[axis_of(axis, data.ndim)] = slice(low, None if backwards and high < 0 else max(high, 0), step)
    return np.asarray(data[tuple(chosen)])


def _row(read: Sequence[Any], index: int, name: str) -> tuple[int, ...] | None:
    """An input that is a row of integers; None where it is not there."""
    array = read[index] if index < len(read) else None
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise RefusedError(f"{name} are {array.dtype} {show_shape(array.shape)}", "integers along one axis")
    return tuple(map(int, array))


def _range(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    for name, array in zip(("start", "limit", "delta"), read, strict=True):
        if array.size != 1 or not np.isfinite(array).all():
            told = f"is {array.reshape(()):g}" if array.size == 1 else f"has {array.size} numbers"
            raise RefusedError(f"{name} {told}", "one finite number")
    start, limit, delta = (array.reshape(()) for array in read)
    if delta == 0:
        raise RefusedError("delta is 0", "numbers other than 0")
    room((max(int(np.ceil((float(limit) - float(start)) / float(delta))), 0),))
    return np.asarray(np.arange(start.item(), limit.item(), delta.item()), start.dtype)


def _divide(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    first, second = read
    room(np.broadcast_shapes(first.shape, second.shape))
    if first.dtype.kind == "f":
        return np.asarray(np.divide(first, second))
    if (second == 0).any():
        raise RefusedError("integers divided by 0", "divisors other than 0")
    return np.asarray((np.sign(first) * np.sign(second) * (np.abs(first) // np.abs(second))).astype(first.dtype))


def _called(function: Callable[..., Any], read: Sequence[Any]) -> Any:  # noqa: ANN401 - what numpy returns
    """The function of what is read, of which numpy would take one too many as the place to write to."""
    if isinstance(function, np.ufunc) and len(read) != function.nin:
        raise TypeError(f"{len(read)} inputs")
    return function(*read)


def _elementwise(function: Callable[..., Any]) -> _Fold:
    def apply(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
        room(np.broadcast_shapes(*(array.shape for array in read)))
        return np.asarray(_called(function, read))

    return apply


def _like_first(function: Callable[..., Any]) -> _Fold:
    """A function whose result has the type of its first argument."""

    def apply(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
        room(np.broadcast_shapes(*(array.shape for array in read)))
        return np.asarray(_called(function, read)).astype(read[0].dtype)

    return apply


def _fold_left(function: Callable[[Any, Any], Any]) -> _Fold:
    def apply(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
        room(np.broadcast_shapes(*(array.shape for array in read)))
        result = read[0]
        for array in read[1:]:
            result = function(result, array)
        return np.asarray(result)

    return apply


def _reduce(function: Callable[..., Any]) -> _Fold:
    def apply(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
        axes = axes_given(node, _second(read))
        if not axes and integer(node, "noop_with_empty_axes", 0):
            return np.asarray(read[0])
        kept = bool(integer(node, "keepdims", 1))
        result = function(read[0], axis=axes or None, keepdims=kept)
        return np.asarray(result).astype(read[0].dtype)

    return apply


def _clip(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    least, most = (
        read[i] if len(read) > i and read[i] is not None else node.attributes.get(name)
        for i, name in ((1, "min"), (2, "max"))
    )
    result = read[0]
    result = result if least is None else np.maximum(result, least)
    return np.asarray(result if most is None else np.minimum(result, most)).astype(read[0].dtype)


def _batch_normalization(node: OnnxNode, read: Sequence[Any], _: int) -> tuple[Array, ...]:
    """With the statistics given, or in training with those of the constant itself: weights standardized by a model.

    Training also gives the statistics that go on.
    """
    x, along = read[0], [-1 if i == 1 else 1 for i in range(read[0].ndim)]
    scale, shift, mean, variance = (array.reshape(along) for array in read[1:5])
    running: tuple[Array, ...] = ()
    if integer(node, "training_mode", 0):
        others = tuple(i for i in range(x.ndim) if i != 1)
        momentum, before = real(node, "momentum", 0.9), (mean, variance)
        mean, variance = x.mean(others, keepdims=True), x.var(others, keepdims=True)
        pairs = zip(before, (mean, variance), strict=True)
        running = tuple((old * momentum + new * (1 - momentum)).reshape(-1).astype(x.dtype) for old, new in pairs)
    result = scale * (x - mean) / np.sqrt(variance + real(node, "epsilon", 1e-5)) + shift
    return np.asarray(result).astype(x.dtype), *running


def _tile(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    repeats = _row(read, 1, "repeats") or ()
    if len(repeats) != read[0].ndim:
        raise RefusedError(f"{len(repeats)} repeats for {read[0].ndim} axes", "one for every axis")
    room([size * number for size, number in zip(read[0].shape, repeats, strict=True)])
    return np.tile(read[0], repeats)


def _same(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    return np.asarray(read[0])


def _where(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    room(np.broadcast_shapes(*(array.shape for array in read)))
    return np.asarray(np.where(read[0], read[1], read[2]))


def _size(_: OnnxNode, read: Sequence[Any], __: int) -> Array:
    return np.asarray(read[0].size, np.int64)


def _shape(node: OnnxNode, read: Sequence[Any], _: int) -> Array:
    return shape_part(node, read[0].shape)


def shape_part(node: OnnxNode, shape: Sequence[int]) -> Array:
    """What the operator Shape gives: all extents, or those from start to end."""
    start, end = integer(node, "start", 0), integer(node, "end", len(shape))
    return np.asarray(tuple(shape)[start:end], np.int64)


def _split(node: OnnxNode, read: Sequence[Any], _: int) -> tuple[Array, ...]:
    data = read[0]
    axis = axis_of(integer(node, "axis", 0), data.ndim)
    given = _second(read)
    parts = integers(node, "split", None) if given is None else _row(read, 1, "split")
    count = len(node.writes)
    if "num_outputs" in node.attributes:
        stated = integer(node, "num_outputs", count)
        if parts is not None:
            raise RefusedError(f"num_outputs={stated} beside sizes of parts", "one of both")
        if stated != count:
            raise RefusedError(f"num_outputs={stated} of a node with {count} outputs", f"num_outputs={count}")
    if parts is None:
        each = -(-data.shape[axis] // count)
        parts = (each,) * (count - 1) + (data.shape[axis] - each * (count - 1),)
    if sum(parts) != data.shape[axis] or len(parts) != count or min(parts) < 0:
        raise RefusedError("parts that do not fit", "parts that add up")
    return tuple(np.split(data, np.cumsum(parts)[:-1], axis))


FOLDS: Mapping[str, _Fold] = MappingProxyType(
    {
        "Abs": _elementwise(np.abs),
        "Add": _elementwise(np.add),
        "And": _elementwise(np.logical_and),
        "BatchNormalization": _batch_normalization,
        "Cast": _cast,
        "CastLike": _cast_like,
        "Ceil": _elementwise(np.ceil),
        "Clip": _clip,
        "Concat": _concat,
        "Constant": _constant,
        "ConstantOfShape": _constant_of_shape,
        "Div": _divide,
        "Dropout": _same,
        "Equal": _elementwise(np.equal),
        "Exp": _elementwise(np.exp),
        "Expand": _expand,
        "Flatten": _flatten,
        "Floor": _elementwise(np.floor),
        "Gather": _gather,
        "Greater": _elementwise(np.greater),
        "GreaterOrEqual": _elementwise(np.greater_equal),
        "Identity": _same,
        "Less": _elementwise(np.less),
        "LessOrEqual": _elementwise(np.less_equal),
        "Log": _elementwise(np.log),
        "Max": _fold_left(np.maximum),
        "Min": _fold_left(np.minimum),
        "Mod": _elementwise(np.mod),
        "Mul": _elementwise(np.multiply),
        "Neg": _elementwise(np.negative),
        "Not": _elementwise(np.logical_not),
        "Or": _elementwise(np.logical_or),
        "Pow": _like_first(np.power),
        "Range": _range,
        "Reciprocal": _elementwise(np.reciprocal),
        "ReduceMax": _reduce(np.max),
        "ReduceMean": _reduce(np.mean),
        "ReduceMin": _reduce(np.min),
        "ReduceProd": _reduce(np.prod),
        "ReduceSum": _reduce(np.sum),
        "Relu": _elementwise(lambda x: np.maximum(x, 0)),
        "Reshape": _reshape,
        "Shape": _shape,
        "Sign": _elementwise(np.sign),
        "Size": _size,
        "Slice": _slice,
        "Split": _split,
        "Sqrt": _elementwise(np.sqrt),
        "Squeeze": _squeeze,
        "Sub": _elementwise(np.subtract),
        "Sum": _fold_left(np.add),
        "Tile": _tile,
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
        "Where": _where,
    }
)
"""By operator, of the node, the constants that it reads and the operator set."""

_MOVING = {"Constant", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Shape", "Size"} | {
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
"""Operators that compute nothing and may be given constants of any size."""
