"""The node Conv: convolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.diagnostics import quote
from nn512.graph.fields import ValueType, declare, geometry, padding_along, padding_at, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Distribution, Layer, Mistake, ParameterKind, Shape
from nn512.graph.windows import no_room, padding_of, pair


@dataclass(frozen=True, slots=True)
class Conv(Layer):
    """Two-dimensional cross-correlation with zero padding, plus a bias per output channel.

    Out height is `(H + PaddingTop + PaddingBottom - (1 + (FilterH-1)*DilationH)) / StrideH + 1`, rounded down, and the
    dividend must not be negative; likewise the width. A causal convolution has its padding on one side alone, as
    `PaddingLeft=2` under a filter of three columns. Parameters: `<ToTensor>Weights`, ToChannels x Channels/Groups x
    FilterH x FilterW, and `<ToTensor>Biases`, ToChannels.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (
        ParameterKind("Weights", Distribution.WEIGHTS),
        ParameterKind("Biases", Distribution.BIASES),
    )

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    to_channels: int = declare("ToChannels", ValueType.POSITIVE, "Number of output channels, divisible by Groups.")
    filter_h: int = geometry("FilterH", ValueType.POSITIVE, "Rows of the filter.")
    filter_w: int = geometry("FilterW", ValueType.POSITIVE, "Columns of the filter.")
    stride_h: int = geometry("StrideH", ValueType.POSITIVE, "Rows between neighbouring windows.", 1)
    stride_w: int = geometry("StrideW", ValueType.POSITIVE, "Columns between neighbouring windows.", 1)
    padding_h: int = padding_along("H", "Rows of zeros above, and as many below.")
    padding_w: int = padding_along("W", "Columns of zeros on the left, and as many on the right.")
    padding_top: int = padding_at("Top", kw_only=True)  # as that of Pooling; the order of arguments is older
    padding_bottom: int = padding_at("Bottom", kw_only=True)
    padding_left: int = padding_at("Left", kw_only=True)
    padding_right: int = padding_at("Right", kw_only=True)
    dilation_h: int = geometry("DilationH", ValueType.POSITIVE, "Rows between neighbouring filter taps; 1 is dense.", 1)
    dilation_w: int = geometry("DilationW", ValueType.POSITIVE, "Columns between neighbouring taps; 1 is dense.", 1)
    groups: int = declare(
        "Groups",
        ValueType.POSITIVE,
        "Channels fall into this many groups that do not see each other; divides input and output channels.",
        1,
    )

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """Channels that do not fall into groups, and filters that are larger than the tensor."""
        shape = shapes[self.from_tensor]
        if shape.channels % self.groups:
            what = f"the {shape.channels} channels of {quote(self.from_tensor)} ({shape})"
            yield Mistake("Groups", f"{what} cannot be divided into {self.groups} groups")
        if self.to_channels % self.groups:
            yield Mistake("ToChannels", f"ToChannels {self.to_channels} cannot be divided into {self.groups} groups")
        top, bottom, left, right = padding_of(self)
        if self._room_h(shape) < 0:
            yield Mistake("FilterH", no_room(self.from_tensor, shape, "H", self._window_h, top, bottom))
        if self._room_w(shape) < 0:
            yield Mistake("FilterW", no_room(self.from_tensor, shape, "W", self._window_w, left, right))

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """One pixel for every place of the filter."""
        shape = shapes[self.from_tensor]
        rows = self._room_h(shape) // self.stride_h + 1
        return Shape(self.to_channels, rows, self._room_w(shape) // self.stride_w + 1)

    @property
    def is_padded(self) -> bool:
        """Whether there is padding on any side."""
        return any(padding_of(self))

    @property
    def _window_h(self) -> int:
        return 1 + (self.filter_h - 1) * self.dilation_h

    @property
    def _window_w(self) -> int:
        return 1 + (self.filter_w - 1) * self.dilation_w

    def _room_h(self, shape: Shape) -> int:
        """Rows that the filter can move down."""
        return padding_of(self).around(shape).height - self._window_h

    def _room_w(self, shape: Shape) -> int:
        return padding_of(self).around(shape).width - self._window_w

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:
        """Weights and biases."""
        channels = shapes[self.from_tensor].channels // self.groups
        return (self.to_channels, channels, self.filter_h, self.filter_w), (self.to_channels,)

    def multiply_accumulates(self, shapes: Mapping[str, Shape]) -> int:
        """The taps of the filter, for every output."""
        per_output = shapes[self.from_tensor].channels // self.groups * self.filter_h * self.filter_w
        return shapes[self.to_tensor].elements * per_output

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """What weights of variance 2 / fan-in and small biases make."""
        return Moments(0.0, 2.01 * read[0].power)

    def describe(self) -> str:
        """The tensor, the filter, and what is not the default."""
        details = [f"{self.filter_h}x{self.filter_w}"]
        if (self.stride_h, self.stride_w) != (1, 1):
            details.append(f"stride {pair(self.stride_h, self.stride_w)}")
        if self.is_padded:
            details.append(f"padding {padding_of(self)}")
        if (self.dilation_h, self.dilation_w) != (1, 1):
            details.append(f"dilation {pair(self.dilation_h, self.dilation_w)}")
        if self.groups > 1:
            details.append(f"{self.groups} groups")
        return f"Conv {self.to_tensor} ({', '.join(details)})"
