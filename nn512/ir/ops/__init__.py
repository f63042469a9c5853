"""The operations of a program, by what they do.

border.py            tensors of the caller: load, store
conv.py              convolutions, several of one source as one operation
fully_connected.py   fully connected layers
pool.py              pooling, and sampling, which takes every second row and column
softmax.py           softmax
channel_norm.py      normalization over channels; lrn.py: over neighbours alone
elementwise.py       chains of element-wise steps
moving.py            copies: concatenation, slices, channels in another order, relayout, padding
"""

from __future__ import annotations

from typing import TypeAlias

from nn512.ir.ops.border import LoadOp, StoreOp
from nn512.ir.ops.channel_norm import ChannelNormOp
from nn512.ir.ops.conv import ConvBranch, ConvOp
from nn512.ir.ops.elementwise import ElementwiseOp
from nn512.ir.ops.fully_connected import FullyConnectedOp
from nn512.ir.ops.lrn import LRNOp
from nn512.ir.ops.moving import ConcatOp, CopyOp, CropOp, PadOp, PickOp, RelayoutOp
from nn512.ir.ops.pool import PoolOp, SampleOp
from nn512.ir.ops.softmax import SoftmaxOp

OPS = (
    LoadOp,
    StoreOp,
    ConvOp,
    FullyConnectedOp,
    PoolOp,
    SampleOp,
    SoftmaxOp,
    ChannelNormOp,
    LRNOp,
    ElementwiseOp,
    ConcatOp,
    PickOp,
    CropOp,
    CopyOp,
    RelayoutOp,
    PadOp,
)
"""Every kind of operation."""

OpWithEpilogue: TypeAlias = FullyConnectedOp | PoolOp | SampleOp | ChannelNormOp | LRNOp
"""Operations of one result with a chain `epilogue`, done to it in registers; convolutions have one per branch."""

__all__ = [
    "OPS",
    "ChannelNormOp",
    "ConcatOp",
    "ConvBranch",
    "ConvOp",
    "CopyOp",
    "CropOp",
    "ElementwiseOp",
    "FullyConnectedOp",
    "LRNOp",
    "LoadOp",
    "OpWithEpilogue",
    "PadOp",
    "PickOp",
    "PoolOp",
    "RelayoutOp",
    "SampleOp",
    "SoftmaxOp",
    "StoreOp",
]
