"""Convolutions of every form."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import LAYER_WORK, TENSOR_ELEMENTS, WEIGHTS, Grower
from fuzz.draw.kinds.base import LayerWish, Wish
from fuzz.draw.kinds.sums import SumsOfProducts
from fuzz.draw.sizes import LONG_SIZES, OUTPUTS, SOURCES, largest_edge, sizes
from nn512.graph import Conv, Shape

SAME = -1
"""Padding wish: whatever keeps the size of the image at stride 1."""

CAUSAL = -2
"""Padding wish: so much that the first window sees one cell, the first."""

BOTH = -3
"""Wish for the padding behind: as much as in front."""


@dataclass(frozen=True, slots=True)
class ConvWish(LayerWish):
    """A convolution. `to_channels` 0 keeps the channels; `groups` picks a divisor: 0 is none, -1 all channels."""

    to_channels: int = 0
    filter_h: int = 1
    filter_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    padding_h: int = 0
    padding_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 0
    behind_h: int = BOTH
    behind_w: int = BOTH

    def grow(self, grower: Grower) -> None:
        """A window that fits, and as many channels as there is room and time for."""
        source = grower.pick(self.source)
        shape = grower.shapes[source]
        filter_h, dilation_h, (top, bottom), stride_h, height = _window(
            shape.height, self.filter_h, self.dilation_h, (self.padding_h, self.behind_h), self.stride_h
        )
        filter_w, dilation_w, (left, right), stride_w, width = _window(
            shape.width, self.filter_w, self.dilation_w, (self.padding_w, self.behind_w), self.stride_w
        )
        groups = _pick_divisor(shape.channels, self.groups)
        taps = shape.channels // groups * filter_h * filter_w
        wanted = self.to_channels or shape.channels
        limit = min(TENSOR_ELEMENTS // (height * width), LAYER_WORK // (taps * height * width), WEIGHTS // taps)
        to_channels = largest_edge(wanted, limit // groups * groups, groups)
        if to_channels and grower.afford(to_channels * taps * height * width):
            layer = Conv(
                source, grower.name(), to_channels, filter_h, filter_w, stride_h, stride_w,
                padding_top=top, padding_bottom=bottom, padding_left=left, padding_right=right,
                dilation_h=dilation_h, dilation_w=dilation_w, groups=groups,
            )  # fmt: skip
            grower.add_layer(layer, Shape(to_channels, height, width), output=self.output)


def _window(
    size: int, filter_: int, dilation: int, wishes: tuple[int, int], stride: int
) -> tuple[int, int, tuple[int, int], int, int]:
    """Filter, dilation, padding, stride and resulting size along one axis, bent until the window fits."""
    reach = (filter_ - 1) * dilation
    sums = {SAME: reach // 2, CAUSAL: reach}
    before = sums.get(wishes[0], wishes[0])
    after = before if wishes[1] == BOTH else sums.get(wishes[1], wishes[1])
    room = size + before + after
    if room < 1 + reach:
        dilation = 1
    filter_ = min(filter_, room)
    out = (room - (1 + (filter_ - 1) * dilation)) // stride + 1
    while out > LONG_SIZES[-1]:
        stride += 1
        out = (room - (1 + (filter_ - 1) * dilation)) // stride + 1
    return filter_, dilation, (before, after), stride, out


def _pick_divisor(channels: int, wish: int) -> int:
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    return channels if wish < 0 else divisors[wish % len(divisors)]


def dense_convs() -> st.SearchStrategy[Wish]:
    """Convolutions of any filter, stride, padding (beyond the filter too) and dilation."""
    taps = st.sampled_from((1, 3, 2, 5, 4, 7))
    strides = st.sampled_from((1, 1, 2, 3))
    padding = st.sampled_from((0, SAME, 1, 2, 3, 6))
    dilations = st.sampled_from((1, 1, 1, 2, 3))
    return st.builds(
        ConvWish, SOURCES, st.just(0) | sizes(), taps, taps, strides, strides, padding, padding, dilations, dilations,
        output=OUTPUTS,
    )  # fmt: skip


def pointwise_convs() -> st.SearchStrategy[Wish]:
    """1x1 convolutions, half of them strided."""
    strides = st.sampled_from((1, 1, 2))
    return st.builds(
        ConvWish, SOURCES, st.just(0) | sizes(), stride_h=strides, stride_w=strides, groups=st.sampled_from((0, 0, 1)),
        output=OUTPUTS,
    )  # fmt: skip


def usual_convs() -> st.SearchStrategy[Wish]:
    """What nets are made of: square odd filters that keep the image or halve it."""

    def square(source: int, to_channels: int, taps: int, stride: int, output: bool) -> Wish:  # noqa: FBT001
        return ConvWish(source, to_channels, taps, taps, stride, stride, SAME, SAME, output=output)

    return st.builds(
        square, SOURCES, st.just(0) | sizes(), st.sampled_from((3, 3, 5, 7)), st.sampled_from((1, 1, 2)), OUTPUTS
    )


def grouped_convs() -> st.SearchStrategy[Wish]:
    """Grouped convolutions: depthwise, depthwise with several outputs per channel, odd group sizes."""
    taps = st.sampled_from((3, 1, 2, 5))
    padding = st.sampled_from((SAME, 0, 1))
    return st.builds(
        ConvWish, SOURCES, st.just(0) | sizes(), taps, taps, st.sampled_from((1, 2)), st.sampled_from((1, 2)), padding,
        padding, st.sampled_from((1, 1, 2)), st.sampled_from((1, 1, 2)), st.sampled_from((-1, 1, 2, 3, 4)),
        output=OUTPUTS,
    )  # fmt: skip


def lopsided_convs() -> st.SearchStrategy[Wish]:
    """Padding of which every side is its own: causal, on one side alone, larger than the filter on one; any groups."""
    taps, strides = st.sampled_from((3, 2, 1, 5, 9)), st.sampled_from((1, 1, 1, 2, 3))
    before = st.sampled_from((0, CAUSAL, CAUSAL, 1, SAME, 2, 4, 11))
    behind = st.sampled_from((0, 0, 0, CAUSAL, 1, SAME, 2, 4, 11))
    dilations, groups = st.sampled_from((1, 1, 2, 3)), st.sampled_from((0, 0, 0, -1, 1))
    return st.builds(
        ConvWish, SOURCES, st.just(0) | sizes(), taps, taps, strides, strides, before, before, dilations, dilations,
        groups, behind, behind, output=OUTPUTS,
    )  # fmt: skip


class ConvKind(SumsOfProducts[Conv]):
    """Convolutions."""

    node = Conv

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Five forms that nets use, each with its kernels."""
        return pointwise_convs(), usual_convs(), dense_convs(), grouped_convs(), lopsided_convs()
