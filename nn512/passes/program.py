"""The program: what the passes rewrite and the planner maps to kernels.

A program is a sequence of operations on tensors. Each operation still holds the graph nodes it stands for, so that any
program can be evaluated by the reference interpreter and every emitted layer can say which graph lines it covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from nn512.graph.graph import Graph
from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Input,
    Layer,
    Output,
    Pooling,
    Shape,
    Softmax,
)

Stride: TypeAlias = tuple[int, int]
"""Rows and columns from one pixel to the next."""

SAMPLING = "Max1x1Stride2"
"""Kind of a pooling that copies every second row and column; passes make it, the graph language does not have it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One element-wise operation on a value that is in registers.

    `operand` is the other tensor of an Add; an Add without one adds the value to itself.
    """

    node: BatchNorm | Activation | Add
    operand: str | None = None


@dataclass(frozen=True, slots=True)
class LoadOp:
    """Bring a tensor of the caller into the blocked layout.

    With `columns` (the planner's doing) it stays channels x height x width, with so many zeros at both ends of a row.
    """

    node: Input
    writes: str
    columns: int = 0


@dataclass(frozen=True, slots=True)
class StoreOp:
    """Hand a tensor to the caller as channels x height x width."""

    node: Output
    source: str


@dataclass(frozen=True, slots=True)
class ConvBranch:
    """One convolution of a `ConvOp`: node, batch norms folded into its weights, what follows in registers, result."""

    node: Conv
    folded: tuple[BatchNorm, ...]
    epilogue: tuple[Step, ...]
    writes: str


@dataclass(frozen=True, slots=True)
class ConvOp:
    """Convolutions of the same geometry that read the same tensor.

    `prologue` is applied to what they read; `normalized` are batch norms of the source, folded into the weights.
    The planner's doing: the source has `zeros` rows and columns of padding around it already; it is the tensor of a
    `caller`, channels x height x width.
    """

    source: str
    prologue: tuple[Step, ...]
    branches: tuple[ConvBranch, ...]
    normalized: tuple[BatchNorm, ...] = ()
    zeros: tuple[int, int] = (0, 0)
    caller: Input | None = None


@dataclass(frozen=True, slots=True)
class FullyConnectedOp:
    """A fully connected layer with batch norms folded in, of its result and of its source, and an epilogue."""

    source: str
    node: FullyConnected
    folded: tuple[BatchNorm, ...]
    epilogue: tuple[Step, ...]
    writes: str
    normalized: tuple[BatchNorm, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolOp:
    """A pooling with a prologue on every element it reads and an epilogue.

    It may be one that is not in the graph, of the kind `SAMPLING`. `ahead_of` names convolutions, by what their nodes
    produce, that come before it in the graph and after it here.
    """

    source: str
    node: Pooling
    prologue: tuple[Step, ...]
    epilogue: tuple[Step, ...]
    writes: str
    ahead_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SoftmaxOp:
    """Softmax over channels."""

    source: str
    node: Softmax
    writes: str


@dataclass(frozen=True, slots=True)
class ElementwiseOp:
    """A chain of element-wise steps as an operation of its own."""

    source: str
    steps: tuple[Step, ...]
    writes: str


@dataclass(frozen=True, slots=True)
class ConcatOp:
    """Channels of the first source, then those of the second, copied."""

    sources: tuple[str, str]
    node: Concat
    writes: str


@dataclass(frozen=True, slots=True)
class RelayoutOp:
    """The same tensor with its channels in other lanes: the planner makes these where two layouts clash.

    Where a tensor has too many segments of channels to become part of a whole (`crowded`), it is copied to one.
    """

    source: str
    writes: str
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class PadOp:
    """The same tensor with zeros around every channel; only the planner makes these, for convolutions."""

    source: str
    rows: int
    columns: int
    writes: str


@dataclass(frozen=True, slots=True)
class CopyOp:
    """The same tensor once more, where it has to stand in two places."""

    source: str
    writes: str


Op: TypeAlias = (
    LoadOp
    | StoreOp
    | ConvOp
    | FullyConnectedOp
    | PoolOp
    | SoftmaxOp
    | ElementwiseOp
    | ConcatOp
    | CopyOp
    | RelayoutOp
    | PadOp
)


@dataclass(frozen=True, slots=True)
class Joined:
    """A concatenation that costs nothing: both parts are written straight into their places in the whole."""

    node: Concat
    parts: tuple[str, str]
    writes: str


@dataclass(frozen=True, slots=True)
class Program:
    """Operations in the order in which they run, the shapes of all tensors, and the graph they came from.

    `thinned` are tensors that have fewer pixels than in the graph: the first and every stride-th row and column.
    """

    graph: Graph
    ops: tuple[Op, ...]
    shapes: Mapping[str, Shape]
    joined: tuple[Joined, ...] = ()
    thinned: Mapping[str, Stride] = field(default_factory=dict)

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the tensors that the user asked for."""
        return frozenset(node.from_tensor for node in self.graph.outputs)


def steps_of(op: Op) -> tuple[Step, ...]:
    """All element-wise steps fused into an operation (or making it up)."""
    match op:
        case ConvOp():
            return (*op.prologue, *(step for branch in op.branches for step in branch.epilogue))
        case FullyConnectedOp():
            return op.epilogue
        case PoolOp():
            return (*op.prologue, *op.epilogue)
        case ElementwiseOp():
            return op.steps
        case LoadOp() | StoreOp() | SoftmaxOp() | ConcatOp() | CopyOp() | RelayoutOp() | PadOp():
            return ()
        case _:
            assert_never(op)


def tensors_read(op: Op) -> tuple[str, ...]:
    """Names of the net's tensors an operation reads, the operands of fused additions included."""
    operands = tuple(step.operand for step in steps_of(op) if step.operand is not None)
    match op:
        case LoadOp():
            return ()
        case ConcatOp():
            return op.sources
        case ConvOp() if op.caller is not None:
            return operands
        case (
            StoreOp()
            | ConvOp()
            | FullyConnectedOp()
            | PoolOp()
            | SoftmaxOp()
            | ElementwiseOp()
            | CopyOp()
            | RelayoutOp()
            | PadOp()
        ):
            return (op.source, *operands)
        case _:
            assert_never(op)


def tensors_written(op: Op) -> tuple[str, ...]:
    """Names of the tensors an operation produces."""
    match op:
        case StoreOp():
            return ()
        case ConvOp():
            return tuple(branch.writes for branch in op.branches)
        case (
            LoadOp()
            | FullyConnectedOp()
            | PoolOp()
            | SoftmaxOp()
            | ElementwiseOp()
            | ConcatOp()
            | CopyOp()
            | RelayoutOp()
            | PadOp()
        ):
            return (op.writes,)
        case _:
            assert_never(op)


def nodes_of(op: Op) -> tuple[Layer | Input | Output, ...]:
    """Every graph node an operation stands for, in the order of evaluation."""
    match op:
        case LoadOp() | StoreOp() | SoftmaxOp() | ConcatOp():
            return (op.node,)
        case ConvOp():
            branches = (node for b in op.branches for node in (b.node, *b.folded, *(step.node for step in b.epilogue)))
            caller = () if op.caller is None else (op.caller,)
            return (*caller, *op.normalized, *(step.node for step in op.prologue), *branches)
        case FullyConnectedOp():
            return (*op.normalized, op.node, *op.folded, *(step.node for step in op.epilogue))
        case PoolOp():
            own = () if op.node.kind == SAMPLING else (op.node,)
            return (*(s.node for s in op.prologue), *own, *(s.node for s in op.epilogue))
        case ElementwiseOp():
            return tuple(step.node for step in op.steps)
        case CopyOp() | RelayoutOp() | PadOp():
            return ()
        case _:
            assert_never(op)
