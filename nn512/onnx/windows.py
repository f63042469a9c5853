"""Windows of convolutions and pooling in ONNX: what kernel_shape, strides, dilations, pads and auto_pad come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import integer, integers, need, text
from nn512.onnx.work import Padding, Tensor

WINDOW_ATTRIBUTES = {
    "auto_pad": "NOTSET, VALID, SAME_UPPER, SAME_LOWER",
    "kernel_shape": "1 or 2 axes",
    "pads": "any that the language has",
    "strides": "1 or 2 axes",
}
"""Those that convolutions and pooling share."""


class Axis(NamedTuple):
    """One axis of a window: taps, stride, dilation, padding in front and behind, and what ceil_mode adds behind."""

    taps: int
    stride: int
    dilation: int
    before: int
    after: int
    extra: int = 0

    @property
    def span(self) -> int:
        """Places from the first tap to the last."""
        return 1 + (self.taps - 1) * self.dilation


def axes_of(node: OnnxNode, x: Tensor, kernel: Sequence[int] | None) -> tuple[Axis, Axis]:
    """Rows and columns of a node's window over an image; `kernel` is the shape of weights where there are some."""
    rank = len(x.dims) - 2
    taps = integers(node, "kernel_shape", kernel)
    if taps is None or len(taps) != rank or (kernel is not None and taps != tuple(kernel)):
        told = "is missing" if taps is None else f"is {show(taps)}"
        raise RefusedError(f"kernel_shape {told}", f"{rank} numbers" if kernel is None else show(tuple(kernel)))
    strides = _of_rank(node, "strides", rank, 1)
    dilations = _of_rank(node, "dilations", rank, 1)
    ceil = integer(node, "ceil_mode", 0)
    need("ceil_mode", ceil, 0, 1)
    mode = text(node, "auto_pad", "NOTSET")
    need("auto_pad", mode, "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    pads = integers(node, "pads", (0,) * (2 * rank)) or ()
    if len(pads) != 2 * rank or min((*pads, 0)) < 0:
        raise RefusedError(f"pads={show(pads)}", f"{2 * rank} numbers, none below 0")
    if mode != "NOTSET" and any(pads):
        raise RefusedError(f"auto_pad={mode} beside pads={show(pads)}", "one of both")
    around = x.padding.pads[2:] if x.padding is not None else ((0, 0),) * rank
    extents = x.shape[2:]
    axes = []
    for i in range(rank):
        if min(taps[i], strides[i], dilations[i]) < 1:
            raise RefusedError("a window, stride or dilation below 1", "1 and more")
        axis = Axis(taps[i], strides[i], dilations[i], pads[i], pads[rank + i])
        if mode.startswith("SAME"):
            total = max((-(-extents[i] // axis.stride) - 1) * axis.stride + axis.span - extents[i], 0)
            smaller, larger = total // 2, total - total // 2
            before, after = (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)
            axis = axis._replace(before=before, after=after)
        elif mode == "VALID":
            axis = axis._replace(before=0, after=0)
        extra = _rounded_up(axis, extents[i]) if ceil else 0
        front, behind = around[i]
        axes.append(axis._replace(before=axis.before + front, after=axis.after + behind, extra=extra))
    return (axes[0], axes[1]) if rank == 2 else (Axis(1, 1, 1, 0, 0), axes[0])


def _rounded_up(axis: Axis, extent: int) -> int:
    """Places behind the padding that the last window needs where its number is rounded up.

    It is no window unless it begins over the tensor or the padding in front.
    """
    room = extent + axis.before + axis.after - axis.span
    if room < 0:
        return 0
    last = -(-room // axis.stride) * axis.stride
    if last >= extent + axis.before:
        last -= axis.stride
    return max(last - room, 0)


def _of_rank(node: OnnxNode, name: str, rank: int, default: int) -> tuple[int, ...]:
    found = integers(node, name, (default,) * rank) or ()
    if len(found) != rank:
        raise RefusedError(f"{name}={show(found)}", f"{rank} numbers")
    return found


def no_other_padding(padding: Padding, value: float) -> None:
    """Raise RefusedError for a Pad in front of a window that pads channels, or with another value."""
    if any(size for pads in padding.pads[:2] for size in pads):
        raise RefusedError(f"Pad {padding.node.label!r} in front of it pads channels", "rows and columns")
    if padding.value != value:
        told = f"Pad {padding.node.label!r} in front of it has the value {padding.value:g}"
        raise RefusedError(told, f"the value {value:g}")
