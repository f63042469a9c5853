"""For each decision of the compiler layers among which it is made, as they stand or with small changes.

A pass says what it may decide, and why (`nn512.ir.decision`), and so does the layout of tensors. For every such
decision some row of wishes stands here of which, on a plain picture, comes that decision; changed a little, it makes
the decision just not, or another one. In a campaign rows take turns: a case has two of them, the next case the next
two, so that as many cases as there are pairs of rows have all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from hypothesis import strategies as st

from fuzz.draw.kinds import LayerWish, Wish
from fuzz.draw.kinds.activation import ActivationWish, relu
from fuzz.draw.kinds.batch_norm import BatchNormWish
from fuzz.draw.kinds.binary import BinaryWish
from fuzz.draw.kinds.channel_norm import ChannelNormWish
from fuzz.draw.kinds.concat import ConcatWish
from fuzz.draw.kinds.conv import SAME, ConvWish
from fuzz.draw.kinds.fully_connected import FullyConnectedWish
from fuzz.draw.kinds.input import INTERLEAVED, InputWish
from fuzz.draw.kinds.lrn import LRNWish
from fuzz.draw.kinds.pooling import PoolingWish, WindowsWish
from fuzz.draw.kinds.shuffle import ShuffleWish
from fuzz.draw.kinds.slice import TO_THE_END, SliceWish
from fuzz.draw.kinds.softmax import SoftmaxWish
from fuzz.draw.sizes import ANOTHER, ITSELF, SOURCES, sizes
from fuzz.draw.weights import weighted
from nn512.graph import Activation, Div, LayerNorm, Max, RMSNorm, Sub
from nn512.ir.decision import Decision
from nn512.passes.collapse_relus import Collapsing
from nn512.passes.dedup import Sharing
from nn512.passes.drop_concat import Joining
from nn512.passes.fold_batchnorm import MOST_REPEATED, Folding
from nn512.passes.fold_shuffle import Unmoving
from nn512.passes.fuse_elementwise import Fusing
from nn512.passes.merge_convs import Merging
from nn512.passes.merge_picks import Picking
from nn512.passes.pipeline import PASSES
from nn512.passes.pool_first import Exchange
from nn512.passes.schedule import Ordering
from nn512.passes.skip_unread import Thinning
from nn512.passes.view_slices import Viewing
from nn512.plan.laying import Laying

DECISIONS: tuple[Decision, ...] = (*(made for one in PASSES.values() for made in one.decisions), *Laying)
"""All decisions of all passes, and about layouts."""

# Layers, each of the tensor before it.
_CONV, _POINTWISE = ConvWish(0, 0, 3, 3, padding_h=SAME, padding_w=SAME), ConvWish(0)
_STRIDED, _FULL = ConvWish(0, stride_h=2, stride_w=2), FullyConnectedWish(0, 9)
_NORM, _SOFTMAX = BatchNormWish(0, 0.001), SoftmaxWish(0)
_LAYER_NORM, _RMS_NORM = (ChannelNormWish(0, kind, 0.001) for kind in (LayerNorm, RMSNorm))
_RELU, _LEAKY, _NOTHING = (ActivationWish(0, relu(slope)) for slope in (0.0, -0.5, 1.0))
_HALF, _DOUBLE = (ActivationWish(0, relu(slope)) for slope in (0.5, 2.0))
_ABS, _PRELU = (ActivationWish(0, Activation("", "", kind)) for kind in ("Abs", "PReLU"))
_AVERAGE, _LARGEST, _WHOLE = (PoolingWish(0, kind) for kind in ("Avg2x2Stride2", "Max2x2Stride2", "AvgGlobal"))
_PADDED_AVERAGE = PoolingWish(0, "Avg3x3Stride2", 1, 1)
_JOINED = ConcatWish(0, ITSELF, 3)  # takes no steps, as its parts are written in place
_ON_TOP = ConcatWish(0, 0, 3, axis="Height")
_ADD, _ADD_INPUT = BinaryWish(0, 0), BinaryWish(0, ANOTHER)
_CUT, _START = SliceWish(0, 3, 9), SliceWish(0, 0, 9)
_TWENTY, _SHUFFLE, _QUARTERS = ConvWish(0, 20), ShuffleWish(0, 1), ShuffleWish(0, 2)  # 2 groups of 10, 4 of 5
_BOTH, _DEPTHWISE = ConcatWish(0, 0, 3), replace(_CONV, groups=-1)


W = TypeVar("W", bound=LayerWish)


def _of(wish: W, source: int) -> W:
    """The layer of an older tensor."""
    return replace(wish, source=source)


def _out(wish: W) -> W:
    """The layer, whose result is an output as well."""
    return replace(wish, output=True)


Row = tuple[Wish, ...]

# Averages of as many pixels that are not the same, as they are padded on other sides.
_TWO_AVERAGES: Row = (
    _POINTWISE,
    WindowsWish(0, "Avg", 3, 3, 2, 2, 1, 0, 1, 0),
    _of(_POINTWISE, 2),
    WindowsWish(0, "Avg", 3, 3, 2, 2, 0, 1, 0, 1),
    _ADD,
)

# A difference, and the same the other way round.
_BOTH_SIDES: Row = (_RELU, _of(_LEAKY, 1), BinaryWish(0, 0, node=Sub), BinaryWish(2, 1, node=Sub), ConcatWish(0, 0, 3))

AT_A_TIME = 2
"""Rows of one case: graphs stay small, and the fewer graphs it takes until every row has come the better."""

ROWS: Mapping[Decision, tuple[Row, ...]] = MappingProxyType(
    {
        Sharing.SHARED: ((_RELU, _of(_RELU, 1), _ADD), (_CUT, _of(_CUT, 1), _ADD)),
        Sharing.SHARED_OUTPUT: ((_RELU, _out(_of(_RELU, 1))),),
        Sharing.IDENTITY: ((_NOTHING, _CONV), (BinaryWish(0, ITSELF, node=Max), _CONV)),
        Sharing.IDENTITY_OUTPUT: ((_out(_NOTHING), _CONV),),
        Thinning.HALVED: ((_CONV, _STRIDED, _of(_STRIDED, 1)), (_CONV, _ADD_INPUT, _STRIDED)),
        Thinning.OTHERWISE: (
            (_CONV, ConvWish(0, stride_h=3, stride_w=3)),
            (_CONV, _RELU, ConvWish(0, stride_w=2)),
        ),
        Thinning.SAMPLED: ((_CONV, _CONV, _ADD, _STRIDED),),
        Thinning.STRIDES: ((_CONV, _STRIDED, ConvWish(1, stride_h=3, stride_w=3)),),
        Thinning.WHOLE: ((_CONV, _STRIDED, _of(_RELU, 1)), (_out(_CONV), _STRIDED)),
        Thinning.FILTER: (
            (_CONV, _STRIDED, replace(_STRIDED, source=1, filter_w=3)),
            (_CONV, replace(_STRIDED, filter_w=2)),
            (_CONV, replace(_STRIDED, filter_h=2)),
        ),
        Thinning.PADDING: (
            (_CONV, replace(_STRIDED, padding_w=1)),
            (_CONV, replace(_STRIDED, padding_h=1)),
            (_CONV, _STRIDED, replace(_STRIDED, source=1, padding_w=1)),
        ),
        Thinning.NO_SAMPLES: (
            (_CONV, _CONV, _ADD, ConvWish(0, stride_h=3, stride_w=3)),
            (_CONV, _CONV, _ADD, ConvWish(0, stride_h=2)),
        ),
        Thinning.NOTHING_SAVED: ((_LARGEST, _LEAKY, _STRIDED),),
        Folding.AFTER_CONV: ((_CONV, _NORM), (ConvWish(0, groups=-1), _NORM)),
        Folding.AFTER_FULL: ((_FULL, _NORM, _LEAKY),),
        Folding.AFTER_NORM: ((_CONV, _NORM, _NORM), (_FULL, _NORM, _NORM)),
        Folding.AFTER_SHARED: ((_CONV, _NORM, _of(_RELU, 1)), (_POINTWISE, _NORM, _of(_NORM, 1), _ADD)),
        Folding.AFTER_OUTPUT: ((_out(_CONV), _NORM),),
        Folding.AFTER_OTHER: ((_RELU, _NORM),),
        Folding.BEFORE_ONE: (
            (_RELU, _NORM, _POINTWISE),
            (_RELU, _NORM, _FULL),
            (ConvWish(0, 24), _RELU, _NORM, ConvWish(0, 0, 3, 2, groups=1)),
            (ConvWish(0, 24), _LEAKY, _NORM, ConvWish(0, 12, groups=3)),
        ),
        Folding.BEFORE_SEVERAL: ((_RELU, _NORM, _POINTWISE, _of(_FULL, 1)), (_RELU, _NORM, _POINTWISE, ConvWish(1, 9))),
        Folding.BEFORE_NORM: (
            (_RELU, _NORM, _NORM, _POINTWISE),
            (ConvWish(0, 32), _RELU, _NORM, _NORM, ConvWish(0, 0, 2, 2, groups=1)),
            (_RELU, _NORM, _NORM, _FULL),
            (_RELU, _NORM, _NORM, _POINTWISE, _of(_STRIDED, 1), _of(_POINTWISE, 3)),
        ),
        Folding.BEFORE_OUTPUT: ((_RELU, _out(_NORM), _POINTWISE),),
        Folding.BEFORE_PADDING: (
            (_RELU, _NORM, _CONV),
            (_RELU, _NORM, replace(_CONV, padding_h=0)),
            (_RELU, _NORM, replace(_CONV, padding_w=0)),
            (_RELU, _NORM, ConvWish(0, 0, 2, 2, padding_w=0, behind_w=1)),
        ),
        Folding.BEFORE_OTHER: ((_RELU, _NORM, _SOFTMAX), (_RELU, _NORM, _POINTWISE, _of(_LARGEST, 1))),
        Folding.BEFORE_MANY: ((_RELU, *[_NORM] * (MOST_REPEATED + 1), _POINTWISE, ConvWish(1, 5)),),
        Exchange.MOVED: (
            (_POINTWISE, _AVERAGE),
            (_POINTWISE, _NORM, _PADDED_AVERAGE),
            (ConvWish(0, groups=1), _WHOLE),
            _TWO_AVERAGES,
        ),
        Exchange.MOVED_FARTHER: ((_POINTWISE, _POINTWISE, _AVERAGE), (_POINTWISE, _NORM, _POINTWISE, _PADDED_AVERAGE)),
        Exchange.SHARED: (
            (_POINTWISE, _WHOLE, _of(_POINTWISE, 2), _WHOLE),
            (_POINTWISE, _PADDED_AVERAGE, _of(_POINTWISE, 2), _PADDED_AVERAGE, _ADD),
        ),
        Exchange.COUNTING: ((_POINTWISE, WindowsWish(0, "Avg", 3, 3, 2, 2, 1, 1, 1, 1, counted=1)),),
        Exchange.READ: ((_POINTWISE, _AVERAGE, _of(_LARGEST, 1)),),
        Exchange.OUTPUT: ((_out(_POINTWISE), _AVERAGE),),
        Exchange.WINDOW: (
            (replace(_POINTWISE, padding_w=1), _AVERAGE),
            (replace(_POINTWISE, padding_h=1), _AVERAGE),
            (ConvWish(0, 0, 1, 3), _AVERAGE),
            (_STRIDED, _WHOLE),
        ),
        Exchange.AS_MANY: ((_POINTWISE, WindowsWish(0, "Avg", 3, 3, 1, 1, 1, 1, 1, 1)),),
        Exchange.DEAR: ((ConvWish(0, 96), ConvWish(0, 2, groups=1), _AVERAGE),),
        Merging.MERGED: (
            (_POINTWISE, ConvWish(1, 17)),
            (replace(_CONV, stride_w=2), replace(_CONV, source=1, to_channels=5, stride_w=2)),
            (_POINTWISE, ConvWish(1, 9), ConvWish(2, 16), _NORM),
        ),
        Merging.TILES: ((_CONV, _of(_CONV, 1)),),
        Merging.NORMS: ((_RELU, _NORM, _POINTWISE, _of(_POINTWISE, 2)), (_RELU, _NORM, _POINTWISE, ConvWish(2, 9))),
        Merging.MEET: ((_POINTWISE, _of(_POINTWISE, 1), _ADD),),
        Fusing.INTO_CONV: ((_CONV, _PRELU), (_CONV, _ADD_INPUT), (_POINTWISE, BinaryWish(0, ANOTHER, "HW", node=Sub))),
        Fusing.INTO_MERGED: ((_POINTWISE, ConvWish(1, 17), _RELU), (_POINTWISE, ConvWish(1, 9), _ADD_INPUT)),
        Fusing.INTO_CHAIN: ((_JOINED, _RELU, _ABS), (_JOINED, _ABS, _ADD_INPUT, _RELU)),
        Fusing.INTO_OTHER: (
            (_LAYER_NORM, _RELU),
            (_LARGEST, _LEAKY),
            (_FULL, _ABS),
            (_PADDED_AVERAGE, _NORM),
        ),
        Fusing.INTO_SECOND: (
            (_RELU, _CONV, BinaryWish(1, 0, node=Sub)),
            (_RELU, _POINTWISE, BinaryWish(1, 0, node=Div), _ABS),
            (_LEAKY, _CONV, BinaryWish(1, 0, node=Max), _NORM),
            (_CONV, _ABS, _of(_CONV, 1), BinaryWish(1, 0, node=Sub), BinaryWish(2, 0, node=Sub)),
        ),
        Fusing.SHARED: (
            (_CONV, _RELU, _of(_LARGEST, 1)),
            (_CONV, _RELU, BinaryWish(0, 0, node=Sub), _of(_ABS, 1)),
            _BOTH_SIDES,
        ),
        Fusing.OUTPUT: ((_out(_CONV), _RELU),),
        Fusing.LATER: (
            (_POINTWISE, ConvWish(1, 9), _out(_of(_CONV, 2)), BinaryWish(2, 0)),
            (_POINTWISE, ConvWish(1, 9), _of(_CONV, 2), BinaryWish(2, 0, node=Sub), _of(_ABS, 1)),
            (ConvWish(0, 17), ConvWish(1, 9), _out(replace(_CONV, to_channels=17)), BinaryWish(2, 0)),
            (ConvWish(0, 9), ConvWish(1, 17), replace(_CONV, to_channels=9), BinaryWish(2, 0, node=Sub), _of(_ABS, 1)),
        ),
        Fusing.NO_STEPS: ((_JOINED, _LEAKY), (_CUT, _ABS)),
        Fusing.SPREAD: ((_CONV, BinaryWish(0, ANOTHER, "H")), (_CONV, BinaryWish(0, ANOTHER, "CW", node=Sub))),
        Fusing.ON_POOLING: ((_JOINED, _RELU, _LARGEST), (_JOINED, _NORM, _PADDED_AVERAGE)),
        Fusing.ON_SAMPLE: ((_CONV, _of(_RELU, 1), _LARGEST, BinaryWish(2, 0), _STRIDED),),
        Fusing.ON_CONV: (
            (_JOINED, _NORM, _CONV),
            (_JOINED, _LEAKY, replace(_CONV, padding_h=0)),
            (_JOINED, _NORM, replace(_CONV, padding_w=0)),
        ),
        Fusing.ON_NORM: (
            (_JOINED, _ADD_INPUT, _RMS_NORM),
            (_JOINED, _NORM, _ABS, _LAYER_NORM, _LEAKY),
            (_JOINED, BinaryWish(0, ANOTHER, "HW", node=Sub), _LAYER_NORM, _ADD_INPUT),
            (_CONV, _of(_RELU, 1), BinaryWish(1, 0, node=Sub), _RMS_NORM, _of(_LARGEST, 3), _of(_AVERAGE, 3)),
        ),
        Fusing.ON_CHAIN: ((_JOINED, _RELU, _ABS, _of(_LEAKY, 1)),),
        Fusing.ON_TWO: ((_JOINED, _RELU, _LARGEST, _of(_AVERAGE, 1)), (_JOINED, _LEAKY, _LAYER_NORM, _of(_LARGEST, 1))),
        Fusing.READ_OUTPUT: ((_JOINED, _out(_RELU), _CONV),),
        Fusing.READ_BY_PIXEL: (
            (_JOINED, _ADD_INPUT, _LARGEST),
            (_JOINED, _RELU, BinaryWish(0, ANOTHER, node=Sub), _AVERAGE),
        ),
        Fusing.READ_OFTEN: (
            (_JOINED, _RELU, _CONV, _of(_LARGEST, 1), _of(_SOFTMAX, 2)),
            (_JOINED, _NORM, _CONV, _of(_CONV, 1)),
            (_JOINED, _ADD_INPUT, _LAYER_NORM, _ADD),
        ),
        Fusing.READ_TWICE: ((_JOINED, _RELU, _CONV, _ADD), (_JOINED, _RELU, _RMS_NORM, _ADD)),
        Fusing.READ_WINDOWS: ((_JOINED, _RELU, WindowsWish(0, "Max", 3, 3, 1, 1, 1, 1, 1, 1)),),
        Fusing.READ_NORMS: ((_JOINED, _RELU, _NORM, _POINTWISE), (_JOINED, _LEAKY, _NORM, ConvWish(0, 9, 2, 2))),
        Fusing.READ_OTHERWISE: ((_JOINED, _RELU, _SOFTMAX), (_JOINED, _RELU, _FULL)),
        Collapsing.TOGETHER: ((_CONV, _LEAKY, _LEAKY), (_LARGEST, _DOUBLE, _LEAKY, _RELU)),
        Collapsing.GONE: ((_CONV, _HALF, _DOUBLE), (_CONV, _DOUBLE, _HALF, _NORM)),
        Collapsing.KEPT: ((_JOINED, _HALF, _DOUBLE),),
        Unmoving.FOLDED: (
            (_TWENTY, _SHUFFLE, _CONV),
            (_TWENTY, _QUARTERS, ConvWish(0, 40)),
            (_TWENTY, _QUARTERS, ConvWish(0, 9, 5, 5, padding_h=SAME, padding_w=SAME)),
            (_TWENTY, _SHUFFLE, _LEAKY, replace(_CONV, to_channels=17)),
            (_TWENTY, _QUARTERS, _NORM, ConvWish(0, 9, 2, 2)),
            (_TWENTY, _QUARTERS, _FULL),
            (_TWENTY, _QUARTERS, _NORM, _FULL),
            (InputWish(6, 5, 6), _QUARTERS, replace(_CONV, to_channels=9)),
            (_RELU, _BOTH, _SHUFFLE, ConvWish(0, 9)),
            (_RELU, _BOTH, _SHUFFLE, _FULL),
        ),
        Unmoving.SHARED: (
            (_TWENTY, _QUARTERS, _POINTWISE, _of(_FULL, 1)),
            (_TWENTY, _QUARTERS, _CONV, _of(_STRIDED, 1)),
            (_TWENTY, _QUARTERS, _POINTWISE, ConvWish(1, 9), _of(_CONV, 2)),
        ),
        Unmoving.THROUGH: (
            (_TWENTY, _QUARTERS, _DEPTHWISE, _POINTWISE),
            (_TWENTY, _SHUFFLE, replace(_DEPTHWISE, stride_w=2), _NORM, _RELU, ConvWish(0, 9), _RELU),
            (_TWENTY, _QUARTERS, _DEPTHWISE, _LEAKY, replace(_DEPTHWISE, filter_w=5), _FULL),
            (_TWENTY, _QUARTERS, _NORM, replace(_DEPTHWISE, padding_h=0, padding_w=0), _CONV),
            (_RELU, _BOTH, _SHUFFLE, _DEPTHWISE, _NORM, ConvWish(0, 9)),
            (_RELU, _BOTH, _SHUFFLE, _DEPTHWISE, ConvWish(0, 9), _of(_POINTWISE, 2)),
        ),
        Unmoving.OUTPUT: (
            (_TWENTY, _out(_QUARTERS), _CONV),
            (_TWENTY, _QUARTERS, _out(_DEPTHWISE), _CONV),
        ),
        Unmoving.OTHERS: (
            (_TWENTY, _QUARTERS, _LARGEST),
            (_TWENTY, _QUARTERS, _CONV, _of(_LARGEST, 1)),
            (_TWENTY, _QUARTERS, _CONV, _ADD),
            (_TWENTY, _QUARTERS, _CUT, _CONV),
            (_TWENTY, _QUARTERS, _DEPTHWISE, _LARGEST),
        ),
        Unmoving.GROUPS: (
            (_TWENTY, _QUARTERS, ConvWish(0, groups=1)),
            (_TWENTY, _SHUFFLE, replace(_DEPTHWISE, to_channels=40), _CONV),
        ),
        Unmoving.STEPS: (
            (_TWENTY, _QUARTERS, _PRELU, _CONV),
            (_TWENTY, _QUARTERS, _DEPTHWISE, _PRELU, _POINTWISE),
            (_TWENTY, _QUARTERS, _DEPTHWISE, BinaryWish(0, ANOTHER, node=Sub), _POINTWISE),
            (_TWENTY, _QUARTERS, _NORM, _CONV),
            (PoolingWish(0, "AvgGlobal"), _of(_TWENTY, 1), _QUARTERS, BinaryWish(0, ANOTHER, "HW", node=Sub), _CONV),
        ),
        Unmoving.AGAIN: ((_TWENTY, _SHUFFLE, _SHUFFLE, _CONV), (_TWENTY, _QUARTERS, _SHUFFLE, _FULL)),
        Unmoving.BLOCKS: (
            (InputWish(3, 5, 6), _RELU, ConcatWish(0, 0, 3), _SHUFFLE, _DEPTHWISE, _POINTWISE),
            (_RELU, _BOTH, _SHUFFLE, _CONV),
            (_CONV, _BOTH, _SHUFFLE, ConvWish(0, 9, 1, 3)),
        ),
        Picking.MERGED: (
            (_CUT, SliceWish(0, 1, 5)),
            (SliceWish(0, 1, 7, 2), SliceWish(0, 1, 3, 2)),
            (ConvWish(0, 40), SliceWish(0, 2, 17, 2), SliceWish(0, 3, 9)),
            (ShuffleWish(0, 1), _CUT),
        ),
        Picking.SHARED: ((_CUT, SliceWish(0, 1, 5), SliceWish(1, 4, 3)),),
        Picking.OUTPUT: ((_out(_CUT), SliceWish(0, 1, 5)),),
        Picking.OTHERS: ((_CUT, _CONV), (_CUT, SliceWish(0, 1, 5), _of(_CONV, 1))),
        Picking.SOURCES: ((_RELU, _LEAKY, ConcatWish(0, 0, 3, others=(2,)), SliceWish(0, 1, 40)),),
        Picking.COSTLY: ((_LARGEST, _LEAKY, ConcatWish(0, 0, 3), SliceWish(0, 0, 20)),),
        Joining.IN_PLACE: (
            (_CONV, _LEAKY, ConcatWish(0, 0, 3)),
            (_CONV, ConcatWish(0, 0, 3), _RELU, ConcatWish(1, 0, 3)),
        ),
        Joining.COPIED: ((_CONV, _JOINED), (_RELU, ConcatWish(0, 0, 3), ConcatWish(1, 0, 3))),
        Joining.CROWDED: ((InputWish(1, 2, 2), _RELU, *[_JOINED] * 7, _ABS),),
        Joining.OTHER_AXIS: (
            (_CONV, _ON_TOP),
            (_RELU, ConcatWish(0, ANOTHER, 3, axis="Width")),
        ),
        Viewing.VIEWED: (
            (_START, _CONV),
            (ConvWish(0, 40), SliceWish(0, 16, 9), _LARGEST),
            (_START, SliceWish(1, 9, 3)),
            (_CONV, ConvWish(0, 19), ConcatWish(0, 0, 3), SliceWish(0, 19, 9), _of(_LARGEST, 1)),
        ),
        Viewing.PART: ((_RELU, _START, ConcatWish(0, 0, 3)), (_START, _JOINED, _CONV)),
        Viewing.WITHIN: (
            (_CUT, _CONV),
            (ConvWish(0, 40), SliceWish(0, 8, 20), _ABS),
            (SliceWish(0, 0, TO_THE_END, 2), _RELU),
        ),
        Ordering.ANOTHER: (
            (_CONV, _of(_CONV, 1), _of(_CONV, 2), PoolingWish(0, "MaxGlobal"), PoolingWish(2, "MaxGlobal")),
        ),
        Ordering.SAME: ((_CONV, _RELU),),
        Laying.PADDED: (
            (replace(_CONV, padding_w=16),),
            (_RELU, ConvWish(0, 9, 1, 2, padding_w=20), _LEAKY),
        ),
        Laying.PREPARED: (
            (_JOINED, _LEAKY, replace(_CONV, padding_w=16)),
            (_JOINED, _NORM, ConvWish(0, 9, 2, 2, padding_h=1, padding_w=17)),
            (_JOINED, _NORM, _ABS, ConvWish(0, 0, 1, 3, padding_w=18, groups=1)),
        ),
        Laying.IN_ORDER: ((ConvWish(0, 9), _LEAKY, ConcatWish(0, 0, 3), LRNWish(0, (2, 1.0, 0.75, 1.0))),),
        Laying.JOINED_LANES: (
            (ConvWish(0, 9), ConcatWish(0, ITSELF, 3), _POINTWISE, ConcatWish(0, 0, 3, axis="Height")),
        ),
        Laying.OPERAND_LANES: (
            (ConvWish(0, 9), _JOINED, _POINTWISE, _ADD),
            (ConvWish(0, 9), _JOINED, replace(_CONV, to_channels=18), BinaryWish(1, 0, node=Sub)),
        ),
    }
)
"""Rows of layers in which a pass decides so, each on one picture."""

_FIELDS = (
    *({"stride_h": 2, "stride_w": 2}, {"stride_w": 3}, {"padding_h": 1}, {"padding_w": 1}, {"padding_h": 0}),
    *({"padding_w": 0}, {"filter_w": 3}, {"filter_h": 2}, {"dilation_h": 2, "dilation_w": 3}, {"groups": 1}),
    *({"groups": -1}, {"to_channels": 9}, {"to_channels": 17}, {"to_channels": 40}, {"behind_w": 2}),
)
_MORE = (_NORM, _RELU, _ABS, _POINTWISE, _CONV, _LARGEST, _AVERAGE, _ADD, _ADD_INPUT, _JOINED, _CUT, _STRIDED)

Edit = Callable[[list[Wish], int], list[Wish]]
"""A small change of a row at one of its places."""


def _at(change: Callable[[LayerWish], LayerWish]) -> Edit:
    """The change of one layer."""

    def edit(row: list[Wish], place: int) -> list[Wish]:
        wish = row[place]
        return [*row[:place], change(wish) if isinstance(wish, LayerWish) else wish, *row[place + 1 :]]

    return edit


def _added(more: LayerWish) -> Edit:
    """One more layer behind one of the row."""
    return lambda row, place: [*row[: place + 1], more, *row[place + 1 :]]


def _with(fields: Mapping[str, Any]) -> Edit:
    """Other numbers of the convolution at the place, or of the next one behind it."""

    def edit(row: list[Wish], place: int) -> list[Wish]:
        convs = [number for number, wish in enumerate(row) if isinstance(wish, ConvWish)]
        if not convs:
            return row
        place = next((number for number in convs if number >= place), convs[-1])
        return _at(lambda wish: replace(wish, **fields))(row, place)

    return edit


_EDITS: tuple[Edit, ...] = (
    *[_at(_out)] * 3,
    *[_at(lambda wish: replace(wish, source=wish.source + 1))] * 3,
    *[lambda row, place: [*row[:place], *row[place + 1 :]]] * 2,
    *map(_added, _MORE),
    *(_added(_of(wish, 1)) for wish in (_RELU, _CONV, _NORM)),  # a second reader
    *map(_with, _FIELDS),
)


def decided(turn: int | None = None) -> st.SearchStrategy[list[Wish]]:
    """The rows of layers whose turn it is, or any one, each on a picture of its own: so nothing else reads it."""
    if turn is None:
        return st.builds(_on_a_picture, _pictures(), _rows())
    every = _in_turn()
    rows = [every[(turn * AT_A_TIME + number) % len(every)] for number in range(AT_A_TIME)]
    placed = [st.builds(_on_a_picture, _pictures(), st.just(row)) for row in rows]
    return st.tuples(*placed).map(lambda lists: [wish for wishes in lists for wish in wishes])


@cache
def _in_turn() -> tuple[Row, ...]:
    """All rows: the first of every decision, the second of those that have one, and so on."""
    columns = itertools.zip_longest(*(ROWS[decision] for decision in DECISIONS))
    return tuple(row for column in columns for row in column if row is not None)


@cache
def varied() -> st.SearchStrategy[list[Wish]]:
    """A row of layers among which some decision is made, or just not: two of five have one or two changes.

    Most have a picture of their own, and so nothing else reads what they read.
    """

    def change(row: list[Wish], edits: Sequence[tuple[Edit, int]]) -> list[Wish]:
        for edit, place in edits:
            row = edit(row, place % len(row)) if row else row
        return row

    def on_older(row: Row, source: int) -> list[Wish]:
        return _at(lambda wish: replace(wish, source=source))([*row], 0)

    edits = st.lists(st.tuples(st.sampled_from(_EDITS), st.integers(0, 7)), min_size=1, max_size=2)
    rows = weighted((3, decided()), (1, st.builds(on_older, _rows(), SOURCES)))
    return st.builds(change, rows, weighted((3, st.just(())), (2, edits)))


@cache
def _rows() -> st.SearchStrategy[Row]:
    """Any row, of each decision as often."""
    return st.sampled_from(DECISIONS).flatmap(lambda decision: st.sampled_from(ROWS[decision]))


@cache
def _pictures() -> st.SearchStrategy[Wish]:
    """Inputs so small that all of a row can be granted, and so that sums have operands of one shape."""
    sides = st.sampled_from((5, 6, 4, 3, 7, 8, 9, 2, 1))
    channels = weighted((1, st.sampled_from((17, 16, 3, 20, 9))), (1, st.integers(1, 36)), (1, sizes()))
    return st.builds(InputWish, channels, sides, sides, INTERLEAVED)


def _on_a_picture(picture: Wish, row: Row) -> list[Wish]:
    first, *others = row
    return [picture, replace(first, source=0) if isinstance(first, LayerWish) else first, *others]
