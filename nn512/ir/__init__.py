"""The intermediate representation: a program of operations, which the passes rewrite and kernels compute.

record.py    fields with roles, and the answers that follow from them
op.py, ops/  operations; picking.py, which channels some of them take
steps/       element-wise steps, which are fused into operations
kinds.py     the operation of every kind of graph node
program.py   programs, and their listing
decision.py  what may be decided about them
regraph.py   a program as a graph again
"""

from __future__ import annotations

from nn512.ir.kinds import OPERATIONS, operation_of
from nn512.ir.op import Op
from nn512.ir.ops import (
    OPS,
    ChannelNormOp,
    ConcatOp,
    ConvBranch,
    ConvOp,
    CopyOp,
    CropOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    LRNOp,
    OpWithEpilogue,
    PadOp,
    PickOp,
    PoolOp,
    RelayoutOp,
    SampleOp,
    SoftmaxOp,
    StoreOp,
)
from nn512.ir.picking import Pick
from nn512.ir.program import Joined, Program, Stride, format_program
from nn512.ir.record import Covered, CoveredAs
from nn512.ir.regraph import to_graph
from nn512.ir.steps import (
    WHOLE,
    ActivationStep,
    BinaryStep,
    Chain,
    ElementwiseStep,
    NormStep,
    ReluStep,
    Spread,
    nearest_single,
)

__all__ = [
    "OPERATIONS",
    "OPS",
    "WHOLE",
    "ActivationStep",
    "BinaryStep",
    "Chain",
    "ChannelNormOp",
    "ConcatOp",
    "ConvBranch",
    "ConvOp",
    "CopyOp",
    "Covered",
    "CoveredAs",
    "CropOp",
    "ElementwiseOp",
    "ElementwiseStep",
    "FullyConnectedOp",
    "Joined",
    "LRNOp",
    "LoadOp",
    "NormStep",
    "Op",
    "OpWithEpilogue",
    "PadOp",
    "Pick",
    "PickOp",
    "PoolOp",
    "Program",
    "RelayoutOp",
    "ReluStep",
    "SampleOp",
    "SoftmaxOp",
    "Spread",
    "StoreOp",
    "Stride",
    "format_program",
    "nearest_single",
    "operation_of",
    "to_graph",
]
