"""Pooling in ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from nn512.graph import Concat, Pooling, Slice
from nn512.graph.axes import extent_of
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, IGNORED, LARGEST, Rule, axis_of, integer, integers, need, one_output, text
from nn512.onnx.view import merged
from nn512.onnx.windows import WINDOW_ATTRIBUTES, Axis, axes_of, no_other_padding
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: Pooling) -> Iterator[Any]:
    if layer.is_global:
        yield maker.last("GlobalMaxPool" if layer.is_max else "GlobalAveragePool", [layer.from_tensor])
        return
    attributes: dict[str, object] = {} if layer.is_max else {"count_include_pad": layer.count_padding}
    yield maker.last(
        "MaxPool" if layer.is_max else "AveragePool",
        [layer.from_tensor],
        kernel_shape=[layer.window_h, layer.window_w],
        strides=[layer.stride_h, layer.stride_w],
        pads=[layer.padding_top, layer.padding_left, layer.padding_bottom, layer.padding_right],
        ceil_mode=0,
        **attributes,
    )


POOLING = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read_window(work: Work, node: OnnxNode) -> Tensor:
    """Maximum or average of windows; the windows that ceil_mode adds are padding behind."""
    is_max = node.operator == "MaxPool"
    if is_max:
        one_output(node, "places of the maxima")
        integer(node, "storage_order", 0)
    x = work.image(node, padded=True)
    rows, columns = axes_of(node, x, None)
    counts = 0 if is_max else integer(node, "count_include_pad", 0)
    need("count_include_pad", counts, 0, 1)
    for axis in (rows, columns):
        need("dilations", axis.dilation, 1)
    if x.padding is not None:
        counts = _count_zeros(work, node, x, counts)
    if counts and (rows.extra or columns.extra):  # cells behind the padding are not counted, and all others are
        if any((rows.before, rows.after, columns.before, columns.after)):
            return work.image_of(_averages_in_parts(work, node, x, rows, columns), len(x.dims))
        counts = 0
    kind = "Max" if is_max else "Avg"
    name = work.emit(node, lambda to: _window(x.name, to, kind, rows, columns, None if is_max else counts))
    return work.image_of(name, len(x.dims))


def _window(read: str, to: str, kind: str, rows: Axis, columns: Axis, counts: int | None) -> Pooling:
    """The layer; windows that ceil_mode adds lie over padding behind."""
    return Pooling(
        read,
        to,
        kind,
        window_h=rows.taps,
        window_w=columns.taps,
        stride_h=rows.stride,
        stride_w=columns.stride,
        padding_top=rows.before,
        padding_bottom=rows.after + rows.extra,
        padding_left=columns.before,
        padding_right=columns.after + columns.extra,
        count_padding=counts,  # type: ignore[arg-type]
    )


def _averages_in_parts(work: Work, node: OnnxNode, x: Tensor, rows: Axis, columns: Axis) -> str:
    """Averages that count padding: windows that ceil_mode adds count less of it, and so are layers of their own."""
    bands = []
    for band, height in _parts(work, node, x.name, "Height", rows):
        strips = [
            work.emit(node, partial(_averages, strip, height, width), writes=f"{node.writes[0]}.windows")
            for strip, width in _parts(work, node, band, "Width", columns)
        ]
        bands.append(_joined(work, node, strips, "Width", writes=f"{node.writes[0]}.rows" if rows.extra else None))
    return _joined(work, node, bands, "Height", writes=None)


def _averages(read: str, rows: Axis, columns: Axis, to: str) -> Pooling:
    return _window(read, to, "Avg", rows, columns, 1)


def _parts(work: Work, node: OnnxNode, name: str, axis: str, window: Axis) -> Iterator[tuple[str, Axis]]:
    """What all windows but the one that ceil_mode adds read of a tensor; and what that one does, which ends early."""
    yield name, window._replace(extra=0)
    if window.extra:
        extent = extent_of(work.shapes[name], axis)
        start = extent + window.after + window.extra - window.taps  # may lie in the padding in front
        first = max(start, 0)
        if first:
            make = partial(_tail, name, axis, first, extent - first)
            name = work.emit(node, make, writes=f"{node.writes[0]}.last")
        yield name, Axis(window.taps - window.extra, 1, 1, max(-start, 0), window.after)


def _tail(read: str, axis: str, first: int, count: int, to: str) -> Slice:
    return Slice(read, to, first, count, axis=axis)


def _joined(work: Work, node: OnnxNode, parts: Sequence[str], axis: str, writes: str | None) -> str:
    if len(parts) == 1:
        return parts[0]
    return work.emit(node, lambda to: Concat(parts[0], parts[1], to, axis=axis), writes=writes)


def _count_zeros(work: Work, node: OnnxNode, x: Tensor, counts: int) -> int:
    """CountPadding where zeros stand around what is pooled; what is pooled with other padding is refused."""
    assert x.padding is not None
    if node.operator == "MaxPool":
        lowest = x.padding.value == -np.inf or x.padding.value <= -LARGEST
        no_other_padding(x.padding, x.padding.value if lowest else 0.0)
        if not lowest and not work.is_positive(x.name):
            raise RefusedError(f"Pad {x.padding.node.label!r} in front of it has zeros", "zeros behind a ReLU, or -inf")
        return 0
    no_other_padding(x.padding, 0.0)
    own = any(integers(node, "pads", ()) or ()) or text(node, "auto_pad", "NOTSET").startswith("SAME")
    if own and not counts:
        raise RefusedError(f"Pad {x.padding.node.label!r} in front of padding of its own", "one padding")
    return 1


def _read_global(work: Work, node: OnnxNode) -> Tensor:
    """The whole of every channel."""
    x = work.image(node)
    kind = "MaxGlobal" if node.operator == "GlobalMaxPool" else "AvgGlobal"
    return work.image_of(work.emit(node, lambda to: Pooling(x.name, to, kind)), len(x.dims))


def _read_reduce(work: Work, node: OnnxNode) -> Tensor:
    """Mean or maximum over rows and columns, wherever ONNX has them."""
    x = work.tensor(node)
    rank = len(x.dims)
    axes = integers(node, "axes", None)
    if node.has(1):
        axes = tuple(map(int, work.constant(node, 1, "axes").reshape(-1)))
    if not axes:
        if integer(node, "noop_with_empty_axes", 0):
            return x
        axes = tuple(range(rank))
    chosen = {axis_of(axis, rank) for axis in axes}
    left = tuple(() if i in chosen else dim for i, dim in enumerate(x.dims))
    kept = bool(integer(node, "keepdims", 1))
    shape = work.shapes[x.name]
    gone = [factor for i in chosen for factor in x.dims[i]]
    if gone:
        pixels = [factor for axis in ("H", "W") for factor in merged([f for f in gone if f.axis == axis])]
        wanted = [f for axis, size in (("H", shape.height), ("W", shape.width)) for f in view.whole(axis, size)]
        if pixels != wanted or any(factor.axis == "C" for factor in gone):
            raise RefusedError(f"axes={show(tuple(sorted(chosen)))}", "all rows and columns, and no channels")
        kind = "MaxGlobal" if node.operator == "ReduceMax" else "AvgGlobal"
        x = Tensor(work.emit(node, lambda to: Pooling(x.name, to, kind)), left)
    dims = x.dims if kept else tuple(dim for i, dim in enumerate(x.dims) if i not in chosen)
    return Tensor(x.name, dims, x.moved)


_WINDOW = WINDOW_ATTRIBUTES | {
    "ceil_mode": "0, 1",
    "dilations": "1",
    "pads": "smaller than the window",
}
_REDUCE = {"axes": "all rows and columns", "keepdims": ANY, "noop_with_empty_axes": ANY}

POOLING_RULES = (
    Rule(
        "MaxPool",
        _read_window,
        "Pooling Kind=Max; Pad in front of it is taken in where the values allow",
        _WINDOW | {"storage_order": IGNORED},
    ),
    Rule(
        "AveragePool",
        _read_window,
        "Pooling Kind=Avg; Pad of zeros in front of it is taken in",
        _WINDOW | {"count_include_pad": "0, 1"},
    ),
    Rule("GlobalMaxPool", _read_global, "Pooling Kind=MaxGlobal"),
    Rule("GlobalAveragePool", _read_global, "Pooling Kind=AvgGlobal"),
    Rule("ReduceMax", _read_reduce, "Pooling Kind=MaxGlobal", _REDUCE, inputs=2),
    Rule("ReduceMean", _read_reduce, "Pooling Kind=AvgGlobal", _REDUCE, inputs=2),
)
