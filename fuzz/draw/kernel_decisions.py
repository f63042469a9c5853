"""Layers among which kernels decide something: for all that they state there is a row in which it comes to that.

A kernel states why it may refuse a layer, and what it may decide while it emits one (`nn512.kernels.deciding`). Rows
have a picture of their own, and options: a kernel that prices would not choose, the other platform, a small cache. In a
campaign those with the same options take turns, two to a case, but for every third case, which has none: there options
are as drawn, and so is the kernel that is forced.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hypothesis import strategies as st

from fuzz.draw.grower import Style
from fuzz.draw.kinds import LayerWish, Wish
from fuzz.draw.kinds.activation import ActivationWish, relu
from fuzz.draw.kinds.batch_norm import BatchNormWish
from fuzz.draw.kinds.binary import BinaryWish
from fuzz.draw.kinds.channel_norm import ChannelNormWish
from fuzz.draw.kinds.concat import ConcatWish
from fuzz.draw.kinds.conv import SAME, ConvWish
from fuzz.draw.kinds.fully_connected import FullyConnectedWish
from fuzz.draw.kinds.input import InputWish
from fuzz.draw.kinds.lrn import LRNWish
from fuzz.draw.kinds.pooling import PoolingWish, WindowsWish
from fuzz.draw.kinds.shuffle import ShuffleWish
from fuzz.draw.kinds.slice import SliceWish
from fuzz.draw.kinds.softmax import SoftmaxWish
from fuzz.draw.sizes import ANOTHER, ITSELF
from fuzz.draw.weights import weighted
from nn512.graph import Activation, LayerNorm, Mul, RMSNorm
from nn512.kernels.registry import kernel_named
from nn512.options import Options
from nn512.passes.pipeline import PASSES

PAIRS = "AVX512BFloat16"


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Layers on a picture of their own, and what options a case with them has."""

    wishes: tuple[Wish, ...]
    force: str = ""
    platform: str = ""
    weights: str = "fp16"
    without: tuple[str, ...] = ()
    small_cache: bool = False

    @property
    def options(self) -> Hashable:
        """What rows of one case agree in."""
        return replace(self, wishes=())

    def with_options(self, drawn: Options) -> Options:
        """Options for these layers; the number of threads is as drawn, and so are passes left out, if not all are."""
        force = (("", self.force),) if self.force else ()
        platform = self.platform or (kernel_named(self.force).platform if self.force else "")
        some = () if set(drawn.without_passes) == set(PASSES) else drawn.without_passes
        without = tuple(dict.fromkeys((*self.without, *some)))
        return replace(drawn, without_passes=without, force=force, platform=platform, weights=self.weights)

    def with_style(self, drawn: Style) -> Style:
        """A style with a level 2 cache that holds no picture, if the row wants it."""
        return replace(drawn, l2_kib=16) if self.small_cache else drawn


def _at(channels: int, height: int, width: int, *layers: Wish, **options: Any) -> KernelRow:  # noqa: ANN401
    """Layers on a picture of that shape."""
    return KernelRow((InputWish(channels, height, width), *layers), **options)


def _conv(to_channels: int = 0, rows: int = 3, columns: int = 3, *, same: bool = True, **more: int) -> ConvWish:
    """A convolution, of the same size where it may be."""
    padding = SAME if same else 0
    return replace(ConvWish(0, to_channels, rows, columns, padding_h=padding, padding_w=padding), **more)  # type: ignore[arg-type]


_NORM, _RELU, _LEAKY = BatchNormWish(0, 0.001), ActivationWish(0, relu(0.0)), ActivationWish(0, relu(-0.5))
_SIGMOID = ActivationWish(0, Activation("", "", "Sigmoid"))
_POINTWISE, _FULL, _SOFTMAX = ConvWish(0), FullyConnectedWish(0, 9), SoftmaxWish(0)
_JOINED, _TWICE = ConcatWish(0, ITSELF, 3), ConcatWish(0, 0, 3)
_ADD_INPUT, _GATED = BinaryWish(0, ANOTHER), BinaryWish(0, ANOTHER, "HW", node=Mul)
_AVERAGE, _WHOLE = PoolingWish(0, "Avg2x2Stride2"), PoolingWish(0, "AvgGlobal")
_SHUFFLE = ShuffleWish(0, 1)


def _of(wish: LayerWish, source: int) -> LayerWish:
    """The layer of an older tensor."""
    return replace(wish, source=source)


def _dense(channels: int, times: int) -> tuple[Wish, ...]:
    """Layers that each see all results before them."""
    layer = (_NORM, _RELU, ConvWish(0, channels), ConcatWish(3, 0, 1))
    return (ConvWish(0, channels), *layer * times)


ROWS: tuple[KernelRow, ...] = (
    # Panels of outputs at tiles of pixels, in floats.
    _at(17, 6, 5, _conv(33), _NORM, _RELU, force="direct"),
    _at(3, 1, 100, _conv(5, 1, 3), force="direct"),
    _at(32, 2, 3, ConvWish(0, 96, groups=1), force="direct"),
    _at(3, 40, 3, _conv(9, 19, 1), force="direct"),
    _at(3, 4, 1, ConvWish(0, 9, 2, 1, padding_h=20), force="direct"),
    _at(9, 3, 3, _conv(9, padding_w=16), force="direct"),
    # Under the first pixel of a tile the last column of the picture is seen by a tap that is not the last one.
    _at(16, 5, 4, _conv(17, 3, 3, dilation_h=3, dilation_w=3), _conv(16, 1, 5, dilation_w=3), force="direct"),
    _at(16, 3, 3, *_dense(16, 3), force="direct"),
    _at(16, 30, 30, ConvWish(0, 16), force="direct", small_cache=True),
    _at(16, 4, 5, _POINTWISE, _AVERAGE, _conv(16), platform=PAIRS),
    _at(9, 4, 4, _RELU, _NORM, ConvWish(0, 9, 2, 2), force="direct"),
    _at(20, 4, 4, _RELU, _SHUFFLE, _conv(groups=-1), _POINTWISE),
    _at(16, 5, 5, _POINTWISE, ConvWish(1, 17), force="direct"),
    # Pointwise.
    _at(17, 4, 5, _POINTWISE, _NORM, _RELU, force="pointwise"),
    _at(4700, 1, 2, _JOINED, _RELU, ConvWish(0, 5)),
    _at(16, 4, 5, *_dense(16, 3), force="pointwise"),
    _at(16, 30, 30, ConvWish(0, 16), force="pointwise", small_cache=True),
    _at(20, 4, 4, _SHUFFLE, ConvWish(0, 9), force="pointwise"),
    _at(9, 4, 4, _RELU, _NORM, ConvWish(0, 9), force="pointwise"),
    _at(16, 4, 5, ConvWish(0, 32), _conv(9), force="pointwise", platform=PAIRS),
    _at(16, 4, 5, _POINTWISE, _RELU, _POINTWISE, _RELU, force="pointwise"),
    _at(1, 3, 1, _RELU, ConvWish(0, 64)),
    _at(16, 4, 5, _POINTWISE, ConvWish(1, 17), force="pointwise"),
    # On a picture as the caller has it.
    _at(3, 9, 9, _conv(16), _NORM, _RELU, force="planar"),
    _at(3, 30, 30, _conv(5, stride_h=2, stride_w=2), force="planar"),
    _at(3, 1, 100, ConvWish(0, 5, 3, 3, padding_h=SAME), force="planar"),
    _at(3, 40, 3, _conv(9, 19, 1), force="planar"),
    _at(3, 4, 1, ConvWish(0, 9, 2, 1, padding_h=20), force="planar"),
    _at(3, 4, 9, ConvWish(0, 9, 2, 2), force="planar"),
    _at(6, 5, 6, _SHUFFLE, _conv(9), force="planar"),
    _at(3, 5, 6, _NORM, ConvWish(0, 9, 2, 2), force="planar"),
    _at(3, 5, 6, _conv(16), _of(_conv(16), 1), force="planar"),
    _at(3, 4, 6, _conv(32), _conv(9), force="planar", platform=PAIRS),
    # The same on pairs of columns.
    _at(3, 9, 9, _conv(16), _NORM, _RELU, force="planar-bf16"),
    _at(3, 1, 100, ConvWish(0, 5, 3, 3, padding_h=SAME), force="planar-bf16"),
    _at(3, 40, 3, _conv(9, 19, 2), force="planar-bf16"),
    _at(3, 4, 1, ConvWish(0, 9, 2, 2, padding_h=20, padding_w=1), force="planar-bf16"),
    _at(3, 4, 9, ConvWish(0, 9, 2, 2), force="planar-bf16"),
    _at(3, 4, 6, _conv(9, stride_w=2), _of(_conv(17, stride_w=2), 1), force="planar-bf16"),
    _at(1, 2, 2, _conv(9), platform=PAIRS),
    _at(3, 6, 1, _conv(128, 7, 2, padding_w=1), platform=PAIRS),
    _at(6, 5, 6, _SHUFFLE, _conv(9), force="planar-bf16"),
    _at(3, 5, 6, _conv(16), _of(_conv(16), 1), force="planar-bf16"),
    _at(3, 5, 6, _conv(32), _conv(9), force="planar-bf16"),
    # On pairs of channels.
    _at(17, 6, 5, _RELU, _conv(33), _NORM, _RELU, force="direct-bf16"),
    _at(5, 30, 30, _RELU, _conv(6), _conv(5), force="direct-bf16"),
    _at(16, 9, 8, _RELU, _conv(16), force="direct-bf16"),
    _at(3, 1, 100, _RELU, _conv(5, 1, 3), force="direct-bf16"),
    _at(64, 2, 3, _RELU, ConvWish(0, 32, groups=1), force="direct-bf16"),
    _at(9, 4, 4, _RELU, ConcatWish(0, 0, 3), _conv(6, groups=1), force="direct-bf16"),
    _at(3, 40, 3, _RELU, _conv(9, 19, 1), force="direct-bf16"),
    _at(3, 4, 1, _RELU, ConvWish(0, 9, 2, 1, padding_h=20), force="direct-bf16"),
    _at(32, 3, 3, *_dense(32, 3), force="direct-bf16"),
    _at(16, 4, 5, _RELU, _POINTWISE, ConvWish(1, 17), force="direct-bf16"),
    _at(9, 3, 3, _RELU, _conv(9, padding_w=16), force="direct-bf16"),
    _at(16, 30, 30, _RELU, ConvWish(0, 16), force="direct-bf16", small_cache=True),
    _at(9, 4, 4, _conv(18), _conv(), _of(_conv(groups=3), 1), platform=PAIRS),
    _at(9, 4, 4, _conv(17), _conv(18), _conv(), _of(_SOFTMAX, 1), platform=PAIRS),
    # A channel or a few in a group.
    _at(17, 6, 5, _conv(groups=-1), _NORM, _RELU, force="depthwise"),
    _at(3, 2, 3, ConvWish(0, 3 * 352, groups=-1)),
    _at(3, 4, 40, ConvWish(0, 0, 1, 14, groups=-1), force="depthwise"),
    _at(3, 4, 60, ConvWish(0, 0, 1, 3, dilation_w=14, groups=-1), force="depthwise"),
    _at(5, 3, 3, _conv(padding_w=16, groups=-1), force="depthwise"),
    _at(5, 3, 3, ConvWish(0, 0, 2, 2, padding_h=8, groups=-1), force="depthwise"),
    _at(1, 4, 5, ConvWish(0, 3), ConvWish(1, 5)),
    _at(9, 4, 4, _RELU, ConcatWish(0, 0, 3), ConvWish(0, 36, groups=-1)),
    _at(5, 4, 4, _JOINED, _NORM, _GATED, _conv(groups=-1), force="depthwise"),
    _at(5, 4, 4, _RELU, _NORM, ConvWish(0, groups=-1), force="depthwise"),
    _at(16, 4, 4, *[_conv(groups=-1), _RELU] * 2, force="depthwise"),
    _at(16, 4, 4, _conv(groups=-1), force="direct"),
    _at(1, 2, 1, ConvWish(0, 48, 3, padding_h=1)),
    _at(16, 4, 5, _conv(groups=-1), _conv(9), force="depthwise", platform=PAIRS),
    _at(16, 6, 5, _conv(groups=3), _NORM, _RELU, force="grouped"),
    _at(6, 4, 40, ConvWish(0, 0, 1, 14, groups=2), force="grouped"),
    _at(6, 4, 60, ConvWish(0, 0, 1, 3, dilation_w=14, groups=2), force="grouped"),
    _at(6, 3, 3, _conv(padding_w=16, groups=2), force="grouped"),
    _at(6, 3, 3, ConvWish(0, 0, 2, 2, padding_h=8, groups=2), force="grouped"),
    _at(16, 4, 4, _JOINED, _NORM, _GATED, _conv(groups=3), force="grouped"),
    _at(6, 4, 4, _RELU, _NORM, ConvWish(0, groups=2), force="grouped"),
    _at(16, 4, 4, *[_conv(groups=3), _RELU] * 2, force="grouped"),
    _at(16, 4, 5, _conv(groups=3), _conv(9), force="grouped", platform=PAIRS),
    _at(16, 6, 5, _RELU, _conv(groups=3), _NORM, _RELU, _conv(groups=3), force="grouped-bf16"),
    _at(32, 1, 2, _RELU, ConvWish(0, 32 * 66, groups=3), platform=PAIRS),
    _at(8, 4, 40, _RELU, ConvWish(0, 0, 1, 14, groups=2), force="grouped-bf16"),
    _at(8, 4, 60, _RELU, ConvWish(0, 0, 1, 3, dilation_w=14, groups=2), force="grouped-bf16"),
    _at(8, 4, 9, _RELU, ConvWish(0, 0, 2, 2, stride_w=2, groups=2), force="grouped-bf16"),
    _at(8, 3, 3, _RELU, _conv(padding_w=16, groups=2), force="grouped-bf16"),
    _at(8, 3, 3, _RELU, ConvWish(0, 0, 2, 2, padding_h=8, groups=2), force="grouped-bf16"),
    _at(10, 4, 4, _RELU, ConcatWish(0, 0, 3), _conv(20, groups=3), platform=PAIRS),
    _at(16, 4, 4, _JOINED, _NORM, _GATED, _conv(groups=3), force="grouped-bf16"),
    _at(16, 4, 4, _RELU, *[_conv(groups=3), _RELU] * 4, force="grouped-bf16"),
    _at(4, 1, 2, ConvWish(0, 4, 1, 5, padding_w=SAME, groups=1), platform=PAIRS),
    _at(8, 2, 5, _RELU, ConvWish(0, 32, stride_h=2, stride_w=2, groups=1), platform=PAIRS),
    _at(16, 4, 4, ConvWish(0, groups=3), _AVERAGE, platform=PAIRS),
    # Tiles.
    _at(17, 9, 8, _conv(33), _NORM, _RELU, force="winograd-2x2"),
    _at(17, 9, 8, _conv(33), force="winograd-2x4-fp16"),
    _at(5, 30, 30, _conv(33, 2, 2), force="winograd-2x2"),
    _at(16, 6, 6, _conv(16, same=False), force="winograd-4x4"),
    _at(64, 4, 4, _conv(64, groups=1), force="winograd-2x2"),
    _at(16, 9, 9, _RELU, _conv(33), force="winograd-2x2-bf16"),
    _at(17, 9, 9, _JOINED, _NORM, _GATED, _conv(33), force="winograd-2x2"),
    _at(16, 9, 8, *[_conv(16), _RELU] * 2, force="winograd-3x3"),
    _at(20, 4, 4, _SHUFFLE, _conv(9), force="winograd-2x2"),
    _at(9, 4, 4, _RELU, _NORM, ConvWish(0, 9, 2, 2), force="winograd-2x2"),
    _at(9, 9, 9, ConvWish(0, 9, 3, 3, dilation_h=2, dilation_w=2), ConvWish(0, 9, 8, 1)),
    _at(9, 6, 6, _conv(9), _conv(9, stride_h=2, stride_w=2), force="winograd-2x2"),
    _at(9, 6, 6, _conv(9), weights="fp32"),
    _at(16, 6, 10, _conv(9, 3, 5)),
    _at(48, 4, 1, _conv(32, 3, 1), small_cache=True),
    _at(17, 9, 8, _conv(33, 5, 5), _NORM, _RELU, force="fourier-8"),
    _at(5, 24, 24, _conv(3, 5, 5), force="fourier-8"),
    _at(16, 8, 8, ConvWish(0, 3, 5, 5), force="fourier-8"),
    _at(16, 2, 30, _conv(9, 1, 33)),
    _at(32, 30, 1, _conv(64, 9, 1)),
    _at(32, 4, 4, _conv(32, groups=1), force="fourier-8"),
    _at(17, 5, 5, _JOINED, _NORM, _GATED, _conv(3), force="fourier-8"),
    _at(16, 6, 5, *[_conv(16), _RELU] * 2, _ADD_INPUT, force="fourier-8-fp16"),
    _at(20, 4, 4, _SHUFFLE, _conv(9), force="fourier-8"),
    _at(9, 4, 4, _RELU, _NORM, ConvWish(0, 9, 2, 2), force="fourier-8"),
    _at(9, 9, 9, ConvWish(0, 9, 2, 2, stride_w=3)),
    # Fully connected.
    _at(17, 2, 3, _FULL, _NORM, _RELU, force="fully_connected"),
    _at(17, 2, 3, FullyConnectedWish(0, 130), force="fully_connected"),
    _at(17, 2, 3, FullyConnectedWish(0, 80), force="fully_connected"),
    _at(20, 2, 3, _SHUFFLE, _FULL, force="fully_connected"),
    _at(17, 2, 3, _RELU, _NORM, _FULL, force="fully_connected"),
    _at(16, 2, 3, _FULL, force="fully_connected"),
    _at(17, 1, 3, _FULL, _NORM, _RELU, force="fully_connected_fp16"),
    _at(16, 2, 3, FullyConnectedWish(0, 130), force="fully_connected_fp16"),
    _at(20, 2, 3, _SHUFFLE, _FULL, force="fully_connected_fp16"),
    _at(17, 2, 3, _FULL, weights="fp32"),
    _at(17, 2, 3, _RELU, _FULL, _NORM, _RELU, force="fully_connected_bf16"),
    _at(16, 2, 3, _RELU, FullyConnectedWish(0, 130), force="fully_connected_bf16"),
    _at(20, 2, 3, _SHUFFLE, _FULL, force="fully_connected_bf16"),
    _at(3, 2, 2, FullyConnectedWish(0, 96), platform=PAIRS),
    _at(17, 2, 3, FullyConnectedWish(0, 80), platform=PAIRS, small_cache=True),
    _at(17, 2, 3, _FULL, force="fully_connected", platform=PAIRS),
    # Others.
    _at(9, 6, 6, _JOINED, _RELU, WindowsWish(0, "Max", 3, 3, 2, 2, 1, 1, 1, 1), _NORM),
    _at(9, 6, 20, WindowsWish(0, "Avg", 2, 10, 2, 2, 0, 0, 5, 5), _of(_WHOLE, 1), _of(_AVERAGE, 2)),
    _at(9, 6, 6, WindowsWish(0, "Avg", 3, 3, 2, 2), WindowsWish(0, "Avg", 1, 1, 2, 2)),
    _at(9, 4, 4, _RELU, ConcatWish(0, 0, 3), _SOFTMAX, _of(ChannelNormWish(0, LayerNorm, 0.001), 1), _RELU),
    _at(16, 4, 4, _SOFTMAX, _JOINED, _RELU, ChannelNormWish(0, RMSNorm, 0.001)),
    _at(
        9, 4, 4, LRNWish(0, (3, 1.0, 0.75, 1.0)), _RELU, LRNWish(0, (3, 1.0, 1.0, 1.0)), LRNWish(0, (3, 1.0, 0.6, 1.0))
    ),
    # Behind a convolution a function that makes something of the zeros in lanes without a channel.
    _at(9, 4, 4, _conv(25), _SIGMOID, LRNWish(0, (4, 1.0, 0.75, 1.0))),
    _at(9, 4, 4, _RELU, BinaryWish(0, ANOTHER, "H"), _LEAKY),
    _at(9, 4, 4, *[_RELU, _SOFTMAX] * 2),
    _at(17, 2, 2, _RELU, _LEAKY, ConcatWish(0, 0, 3), without=("drop_concat",)),
    _at(1, 1, 2, _RELU, *[_JOINED] * 7, SliceWish(0, 1, 126)),
    _at(17, 4, 4, _RELU, _LEAKY, ConcatWish(0, 0, 3), _SHUFFLE),
    _at(40, 4, 4, SliceWish(0, 16, 16), ConcatWish(0, 1, 3)),
    _at(
        9,
        4,
        4,
        _conv(),
        _of(_RELU, 1),
        PoolingWish(0, "Max2x2Stride2"),
        BinaryWish(2, 0),
        ConvWish(0, stride_h=2, stride_w=2),
    ),
    _at(17, 4, 4, _RELU, ConcatWish(0, 0, 3, axis="Height"), ConcatWish(0, 0, 3, axis="Width"), _JOINED),
    _at(40, 4, 4, SliceWish(0, 16, 16), _of(SliceWish(0, 3, 9), 1), _of(SliceWish(0, 3, 9, 2), 2)),
    _at(
        9,
        9,
        9,
        SliceWish(0, 2, 5, 2, axis="Height"),
        SliceWish(0, 1, 5, axis="Width"),
        SliceWish(0, 0, 2, 2, axis="Width"),
    ),
    _at(2, 2, 2, InputWish(2, 2, 2, interleaved=True), _RELU),
)
"""Rows of layers, each on one picture."""

AT_A_TIME = 2
"""Rows of one case, if as many have the same options."""

PLAIN = 3
"""Every so-manieth case has none."""


def has_rows(turn: int | None) -> bool:
    """Whether it is the turn of some rows."""
    return turn is not None and turn % PLAIN > 0


def kernel_rows(turn: int | None = None) -> st.SearchStrategy[KernelRow | None]:
    """The rows whose turn it is as one, or None if it is nobody's; any, where there are no turns.

    The simplest is always None: that is one case for all turns, as Hypothesis begins each with the simplest.
    """
    every = _in_turn()
    if turn is None:
        return weighted((2, st.none()), (1, st.sampled_from(every)))
    if not has_rows(turn):
        return st.none()
    return weighted((1, st.none()), (19, st.just(every[(turn - turn // PLAIN - 1) % len(every)])))


@cache
def _in_turn() -> tuple[KernelRow, ...]:
    """All rows, those with the same options together, the first ones of all options first."""
    alike: dict[Hashable, list[KernelRow]] = {}
    for row in ROWS:
        alike.setdefault(row.options, []).append(row)
    pieces = [[rows[n : n + AT_A_TIME] for n in range(0, len(rows), AT_A_TIME)] for rows in alike.values()]
    columns = itertools.zip_longest(*pieces)
    return tuple(_together(rows) for column in columns for rows in column if rows is not None)


def _together(rows: Sequence[KernelRow]) -> KernelRow:
    """Rows with the same options as one."""
    return replace(rows[0], wishes=tuple(wish for row in rows for wish in row.wishes))
