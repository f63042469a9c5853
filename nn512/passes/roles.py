"""Why every graph node is where it is: its part in an operation, or what became of it where no operation has it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from nn512.graph.nodes import Input, Layer, Output
from nn512.passes.dedup import stand_ins
from nn512.passes.program import (
    SAMPLING,
    ConcatOp,
    ConvOp,
    CopyOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    Op,
    PadOp,
    PoolOp,
    Program,
    RelayoutOp,
    SoftmaxOp,
    Step,
    StoreOp,
    nodes_of,
)

ALONE = "no other node reads what it reads"
FOLDED_AFTER = f"folded into the weights before it: {ALONE}"
FOLDED_BEFORE = "folded into the weights after it: only layers without padding read it"
IN_REGISTERS = f"done in registers: {ALONE}"
ON_READING = "done on what is read: no other layer reads it"
RECOMPUTED = "done on what is read: cheap enough for each of its readers to compute it"
AHEAD = "moved before {}: both are linear, and so there are fewer pixels to compute"
AS_IT_IS = "read as the caller has it: few channels, no columns of padding"
IN_PLANES = "left in planes for a convolution: few channels"
MERGED = "merged: same input, filter, stride, padding and dilation"


@dataclass(frozen=True, slots=True)
class Role:
    """A node of an operation; `why` is empty for what the operation itself is."""

    node: Layer | Input | Output
    why: str = ""


def roles_of(op: Op, counts: Mapping[str, int]) -> tuple[Role, ...]:
    """The nodes of an operation in the order of evaluation, with the reasons for which they are part of it.

    `counts` are the `occurrences` of all nodes: a ReLU may be computed by several operations.
    """
    match op:
        case LoadOp():
            return (Role(op.node, IN_PLANES if op.columns else ""),)
        case StoreOp() | SoftmaxOp() | ConcatOp():
            return (Role(op.node),)
        case ConvOp():
            caller = () if op.caller is None else (Role(op.caller, AS_IT_IS),)
            before = (*(Role(n, FOLDED_BEFORE) for n in op.normalized), *_before(op.prologue, counts))
            branches = tuple(
                role
                for number, branch in enumerate(op.branches)
                for role in (
                    Role(branch.node, MERGED if number else ""),
                    *(Role(n, FOLDED_AFTER) for n in branch.folded),
                    *(Role(step.node, IN_REGISTERS) for step in branch.epilogue),
                )
            )
            return caller + before + branches
        case FullyConnectedOp():
            before = tuple(Role(n, FOLDED_BEFORE) for n in op.normalized)
            folded = tuple(Role(n, FOLDED_AFTER) for n in op.folded)
            return (*before, Role(op.node), *folded, *(Role(step.node, IN_REGISTERS) for step in op.epilogue))
        case PoolOp():
            why = AHEAD.format(" and ".join(op.ahead_of)) if op.ahead_of else ""
            own = () if op.node.kind == SAMPLING else (Role(op.node, why),)
            after = (Role(step.node, IN_REGISTERS) for step in op.epilogue)
            return (*_before(op.prologue, counts), *own, *after)
        case ElementwiseOp():
            return tuple(Role(step.node, IN_REGISTERS if number else "") for number, step in enumerate(op.steps))
        case CopyOp() | RelayoutOp() | PadOp():
            return ()
        case _:
            assert_never(op)


def reason_of(op: Op) -> str:
    """Why there is an operation that stands for no node; empty for all others."""
    match op:
        case CopyOp():
            return f"{op.source} stands in another concatenation, or twice in this one"
        case RelayoutOp() if op.crowded:
            return f"{op.source} is made up of too many pieces to become part of another concatenation in place"
        case RelayoutOp():
            return f"{op.source} has its channels in other lanes than what it is added to"
        case PadOp():
            return "too many tiles would touch the padding for each to have a routine of its own"
        case PoolOp() if op.node.kind == SAMPLING:
            return f"what reads this needs no more of {op.node.from_tensor}, which others need whole"
        case _:
            return ""


def _before(steps: Sequence[Step], counts: Mapping[str, int]) -> Iterator[Role]:
    for step in steps:
        yield Role(step.node, RECOMPUTED if counts[step.node.to_tensor] > 1 else ON_READING)


def occurrences(program: Program) -> Mapping[str, int]:
    """How many operations every node is part of, by the tensor it produces."""
    return Counter(node.to_tensor for op in program.ops for node in nodes_of(op) if not isinstance(node, Output))


def vanished(programs: Sequence[tuple[str, Program]]) -> tuple[Role, ...]:
    """Nodes of the graph that are in no operation of the last program; `programs` are those of `stages`."""
    (_, first), *_ = programs
    why: dict[str, str] = {}
    for (_, before), (name, after) in itertools.pairwise(programs):
        left = set(occurrences(after))
        same = stand_ins(before) if name == "dedup" else {}
        for tensor in set(occurrences(before)) - left - why.keys():
            match name:
                case "dedup":
                    why[tensor] = f"the same as {same[tensor]}"
                case "pool_first":
                    why[tensor] = "the same average as another, now that it comes before its convolution"
                case "collapse_relus":
                    why[tensor] = "one ReLU together with its neighbour, or of slope 1"
                case "drop_concat":
                    why[tensor] = "no operation: its parts are written into their places"
                case _:
                    why[tensor] = f"removed by {name}"
    return tuple(Role(layer, why[layer.to_tensor]) for layer in first.graph.layers if layer.to_tensor in why)
