"""Pooling in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn512.graph import Pooling
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, IGNORED, LARGEST, Rule, axis_of, integer, integers, need, one_output, text
from nn512.onnx.view import merged
from nn512.onnx.windows import WINDOW_ATTRIBUTES, axes_of, no_other_padding
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
    extra = rows.extra or columns.extra
    if x.padding is not None:
        counts = _count_zeros(work, node, x, counts, extra=bool(extra))
    elif counts and extra:  # cells behind the padding are not counted, and all others are
        if any((rows.before, rows.after, columns.before, columns.after)):
            told = "ceil_mode=1 with count_include_pad=1 and padding"
            raise RefusedError(told, "two of them, where ceil_mode adds a window")
        counts = 0

    def make(to: str) -> Pooling:
        return Pooling(
            x.name,
            to,
            "Max" if is_max else "Avg",
            window_h=rows.taps,
            window_w=columns.taps,
            stride_h=rows.stride,
            stride_w=columns.stride,
            padding_top=rows.before,
            padding_bottom=rows.after + rows.extra,
            padding_left=columns.before,
            padding_right=columns.after + columns.extra,
            count_padding=None if is_max else counts,  # type: ignore[arg-type]
        )

    return work.image_of(work.emit(node, make), len(x.dims))


def _count_zeros(work: Work, node: OnnxNode, x: Tensor, counts: int, *, extra: bool) -> int:
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
    if extra or (own and not counts):
        told = f"Pad {x.padding.node.label!r} in front of padding of its own"
        raise RefusedError(told, "one padding, and no window that ceil_mode adds")
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
        _WINDOW | {"count_include_pad": "0, 1; not 1 with padding where ceil_mode adds a window"},
    ),
    Rule("GlobalMaxPool", _read_global, "Pooling Kind=MaxGlobal"),
    Rule("GlobalAveragePool", _read_global, "Pooling Kind=AvgGlobal"),
    Rule("ReduceMax", _read_reduce, "Pooling Kind=MaxGlobal", _REDUCE, inputs=2),
    Rule("ReduceMean", _read_reduce, "Pooling Kind=AvgGlobal", _REDUCE, inputs=2),
)
