"""The node Pooling: the largest or the mean value of windows."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from nn512.graph.fields import (
    REQUIRED,
    FieldInfo,
    ValueType,
    declare,
    field_table,
    geometry,
    padding_along,
    padding_at,
    read_tensor,
    written_tensor,
)
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape
from nn512.graph.windows import no_room, padding_of, pair

POOLINGS = ("Max2x2Stride2", "Avg2x2Stride2", "Max3x3Stride2", "Avg3x3Stride2", "MaxGlobal", "AvgGlobal")
"""Choices of Kind that name window and stride as well; the other two, Max and Avg, have fields for them."""

_MEANINGS = {
    "Max": "The largest value of each window.",
    "Avg": "The average of each window.",
    "Max2x2Stride2": "Max with a window of 2x2 and a stride of 2.",
    "Avg2x2Stride2": "Avg with a window of 2x2 and a stride of 2.",
    "Max3x3Stride2": "Max with a window of 3x3 and a stride of 2.",
    "Avg3x3Stride2": "Avg with a window of 3x3 and a stride of 2.",
    "MaxGlobal": "The largest value of each channel.",
    "AvgGlobal": "The average of each channel.",
}
_FREE = ("Max", "Avg")
_COUNTING = ("Avg", "Avg2x2Stride2", "Avg3x3Stride2")
_SPELLING = re.compile(r"(?:Max|Avg)([1-9])x([1-9])Stride([1-9])")


@dataclass(frozen=True, slots=True)
class Pooling(Layer):
    """Maximum or average over windows, channel by channel.

    Padding cells take no part: the maximum ignores them and the average divides by the number of real cells, unless
    CountPadding says otherwise. The padding must be smaller than the window. Out height is `(H + PaddingTop +
    PaddingBottom - WindowH) / StrideH + 1`, rounded down; likewise the width. The global kinds take the whole tensor,
    allow no padding, and give a 1x1 result.
    """

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    kind: str = declare("Kind", ValueType.CHOICE, "Operation, and perhaps window and stride.", choices=_MEANINGS)
    # Window, stride and padding are numbers whatever the kind: those in its name are in the same attributes, and the
    # window of the global kinds is 0 there. By keyword only, so that PaddingH stands where it always did.
    window_h: int = geometry(
        "WindowH", ValueType.POSITIVE, "Rows of the window.", goes_with=dict.fromkeys(_FREE, REQUIRED), kw_only=True
    )
    window_w: int = geometry(
        "WindowW", ValueType.POSITIVE, "Columns of the window.", goes_with=dict.fromkeys(_FREE, REQUIRED), kw_only=True
    )
    stride_h: int = geometry(
        "StrideH",
        ValueType.POSITIVE,
        "Rows between neighbouring windows.",
        goes_with=dict.fromkeys(_FREE, 1),
        kw_only=True,
    )
    stride_w: int = geometry(
        "StrideW",
        ValueType.POSITIVE,
        "Columns between neighbouring windows.",
        goes_with=dict.fromkeys(_FREE, 1),
        kw_only=True,
    )
    padding_h: int = padding_along("H", "Rows of padding above, and as many below.")
    padding_w: int = padding_along("W", "Columns of padding left, and as many right.")
    padding_top: int = padding_at("Top")
    padding_bottom: int = padding_at("Bottom")
    padding_left: int = padding_at("Left")
    padding_right: int = padding_at("Right")
    count_padding: int = declare(
        "CountPadding",
        ValueType.NATURAL,
        "1: averages count padding cells as zeros, and divide by the size of the window.",
        limit=1,
        goes_with=dict.fromkeys(_COUNTING, 0),
        terse=True,
    )

    def stands_in(self, info: FieldInfo) -> object:
        """The window and the stride that the kind's name says."""
        found = _SPELLING.fullmatch(self.kind)
        if found is not None and info.attribute in _NAMED:
            return int(found[_NAMED[info.attribute]])
        return 1 if self.is_global and info.attribute.startswith("stride") else 0

    @property
    def is_max(self) -> bool:
        """Whether the node takes maxima rather than averages."""
        return self.kind.startswith("Max")

    @property
    def is_global(self) -> bool:
        """Whether the window is the whole tensor, whatever its size."""
        return self.kind.endswith("Global")

    def window_of(self, shape: Shape) -> tuple[int, int]:
        """Rows and columns of the window over a tensor of that shape."""
        return (shape.height, shape.width) if self.is_global else (self.window_h, self.window_w)

    @property
    def is_padded(self) -> bool:
        """Whether there is padding on any side."""
        return any(padding_of(self))

    @property
    def key(self) -> Hashable:
        """Operation, window, stride and padding, however they are spelled; and every other field."""
        meaning = (attribute for attribute in field_table(type(self)).meaning if attribute != "kind")
        return (type(self), self.is_max, self.is_global, *(getattr(self, attribute) for attribute in meaning))

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """Padding where there is no window, or as large as the window; and windows larger than the tensor."""
        sides_h = {"PaddingTop": self.padding_top, "PaddingBottom": self.padding_bottom}
        sides_w = {"PaddingLeft": self.padding_left, "PaddingRight": self.padding_right}
        if self.is_global:
            for side, padding in {**sides_h, **sides_w}.items():
                if padding:
                    yield Mistake(side, f"{self.kind} takes no padding")
            return
        shape, size = shapes[self.from_tensor], f"{self.window_h}x{self.window_w}"
        for axis, room, window, sides in (
            ("H", shape.height, self.window_h, sides_h),
            ("W", shape.width, self.window_w, sides_w),
        ):
            wide = {side: padding for side, padding in sides.items() if padding >= window}
            for side, padding in wide.items():
                limit = f"must be smaller than the window, which is {size}"
                yield Mistake(side, f"padding too large: {padding} {limit}")
            if not wide and room + sum(sides.values()) < window:
                blamed = f"Window{axis}" if self.kind in _FREE else "Kind"
                yield Mistake(blamed, no_room(self.from_tensor, shape, axis, window, *sides.values()))

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """One pixel for every place of the window."""
        shape = shapes[self.from_tensor]
        if self.is_global:
            return Shape(shape.channels, 1, 1)
        room = padding_of(self).around(shape)
        rows = (room.height - self.window_h) // self.stride_h + 1
        return Shape(shape.channels, rows, (room.width - self.window_w) // self.stride_w + 1)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Less varied; maxima are a deviation above the mean."""
        mean = read[0].mean + (sqrt(read[0].variance) if self.is_max else 0.0)
        return Moments(mean, read[0].variance / 2)

    def describe(self) -> str:
        """The tensor, the kind, and what is not the default."""
        details = [self.kind]
        if self.kind in _FREE:
            details = [f"{self.kind} {self.window_h}x{self.window_w}"]
            if (self.stride_h, self.stride_w) != (1, 1):
                details.append(f"stride {pair(self.stride_h, self.stride_w)}")
        if self.is_padded:
            details.append(f"padding {padding_of(self)}")
        if self.count_padding:
            details.append("padding counted")
        return f"Pooling {self.to_tensor} ({', '.join(details)})"


_NAMED = {"window_h": 1, "window_w": 2, "stride_h": 3, "stride_w": 3}
