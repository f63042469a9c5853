"""One layer as a wish: what can be asked for, and the strategies that draw it.

Sizes come from around the multiples of 16, the width of a vector: a plain `integers(1, 64)` almost never hits an edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

from nn512.graph import POOLINGS, Shape

EDGE_SIZES = (1, 2, 3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 29, 30, 31, 32, 33, 34, 35, 47, 48, 49, 50, 51)
LONG_SIZES = (63, 64, 65, 79, 80, 81, 95, 96, 97, 127, 128, 129)

ITSELF = -2
"""Partner wish: the tensor that is read anyway."""

SAME = -1
"""Padding wish: whatever keeps the size of the image at stride 1."""


@dataclass(frozen=True, slots=True)
class ConvWish:
    """A convolution. `to_channels` 0 keeps the channels; `groups` picks a divisor: 0 is none, -1 all channels."""

    source: int
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
    output: bool = False


@dataclass(frozen=True, slots=True)
class FullyConnectedWish:
    """A fully connected layer."""

    source: int
    to_channels: int
    output: bool = False


@dataclass(frozen=True, slots=True)
class BatchNormWish:
    """A batch normalization."""

    source: int
    epsilon: float
    output: bool = False


@dataclass(frozen=True, slots=True)
class ActivationWish:
    """A ReLU with a slope."""

    source: int
    param: float
    output: bool = False


@dataclass(frozen=True, slots=True)
class AddWish:
    """A sum with another tensor of the same shape: an older one, the tensor itself, or a new input."""

    source: int
    second: int
    output: bool = False


@dataclass(frozen=True, slots=True)
class ConcatWish:
    """A concatenation with a tensor of the same height and width, or with a new input of `channels`."""

    source: int
    second: int
    channels: int
    swap: bool = False
    output: bool = False


@dataclass(frozen=True, slots=True)
class PoolingWish:
    """A pooling."""

    source: int
    kind: str
    padding_h: int = 0
    padding_w: int = 0
    output: bool = False


@dataclass(frozen=True, slots=True)
class SoftmaxWish:
    """A softmax."""

    source: int
    output: bool = False


@dataclass(frozen=True, slots=True)
class InputWish:
    """One more input, for later layers to read."""

    channels: int
    height: int
    width: int


Wish: TypeAlias = (
    ConvWish
    | FullyConnectedWish
    | BatchNormWish
    | ActivationWish
    | AddWish
    | ConcatWish
    | PoolingWish
    | SoftmaxWish
    | InputWish
)

SOURCES = st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5))
"""Which tensor a layer reads, by recency: 0 is the last one made, so that most layers continue a chain."""

OUTPUTS = st.sampled_from((False, False, False, False, True))
"""Whether a layer's result is an output of the net even if other layers read it."""

_PARTNERS = st.integers(0, 7)


def sizes() -> st.SearchStrategy[int]:
    """One extent of a tensor, at or next to an edge of the vector width."""
    return st.sampled_from(EDGE_SIZES) | st.sampled_from((*EDGE_SIZES[:12], *LONG_SIZES))


def shapes() -> st.SearchStrategy[Shape]:
    """Shape of an input; images are mostly small so that many channels fit."""
    small = st.sampled_from(EDGE_SIZES[:12])
    return st.builds(Shape, sizes(), small | sizes(), small | sizes())


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
        padding, st.sampled_from((1, 1, 2)), st.sampled_from((1, 1, 2)), st.sampled_from((-1, 1, 2, 3, 4)), OUTPUTS,
    )  # fmt: skip


def poolings() -> st.SearchStrategy[Wish]:
    """All kinds of pooling, with every legal padding."""
    return st.builds(
        PoolingWish, SOURCES, st.sampled_from(POOLINGS), st.integers(0, 2), st.integers(0, 2), output=OUTPUTS
    )


def fully_connected() -> st.SearchStrategy[Wish]:
    """Fully connected layers, on images too."""
    return st.builds(FullyConnectedWish, SOURCES, sizes(), output=OUTPUTS)


def batch_norms() -> st.SearchStrategy[Wish]:
    """Batch normalizations; half of the epsilons allow exact arithmetic."""
    return st.builds(BatchNormWish, SOURCES, st.sampled_from((0.00001, 0.0, 0.75, 0.001, 3.0)), output=OUTPUTS)


def activations() -> st.SearchStrategy[Wish]:
    """ReLUs with every sort of slope."""
    return st.builds(ActivationWish, SOURCES, st.sampled_from((0.0, 0.1, 1.0, -1.0, 2.0, 0.5, -0.25)), output=OUTPUTS)


def wishes() -> st.SearchStrategy[Wish]:
    """One layer (or one more input). The first kinds are what failures shrink to."""
    return st.one_of(
        activations(),
        pointwise_convs(),
        usual_convs(),
        dense_convs(),
        grouped_convs(),
        poolings(),
        st.builds(AddWish, SOURCES, _PARTNERS, output=OUTPUTS),
        st.builds(ConcatWish, SOURCES, _PARTNERS, sizes(), st.booleans(), output=OUTPUTS),
        batch_norms(),
        fully_connected(),
        st.builds(SoftmaxWish, SOURCES, output=OUTPUTS),
        st.builds(InputWish, sizes(), sizes(), sizes()),
    )
