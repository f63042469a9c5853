"""Why every graph node is where it is: its part in an operation, or what became of it where no operation has it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.nodes import Input, Layer, Output
from nn512.ir import CoveredAs, Op, PoolOp, Program
from nn512.passes.pipeline import PASSES

ALONE = "no other node reads what it reads"
RECOMPUTED = "done on what is read: cheap enough for each of its readers to compute it"
AHEAD = "moved before {}: both are linear, and so there are fewer pixels to compute"

_REASONS: Mapping[CoveredAs, str] = {
    CoveredAs.ITSELF: "",
    CoveredAs.MERGED: "merged: same input, filter, stride, padding and dilation",
    CoveredAs.CALLER: "read as the caller has it: few channels, no columns of padding",
    CoveredAs.LOADED_PLANES: "left in the caller's order for a convolution: few channels",
    CoveredAs.SHUFFLED: "moves nothing: the weights after it are in the order of the channels before it",
    CoveredAs.FOLDED_BEFORE: "folded into the weights after it: only layers without padding read it",
    CoveredAs.FOLDED_AFTER: f"folded into the weights before it: {ALONE}",
    CoveredAs.ON_READING: "done on what is read: no other layer reads it",
    CoveredAs.IN_REGISTERS: f"done in registers: {ALONE}",
}


@dataclass(frozen=True, slots=True)
class Role:
    """A node of an operation; `why` is empty for what the operation itself is."""

    node: Layer | Input | Output
    why: str = ""


def roles_of(op: Op, counts: Mapping[str, int]) -> tuple[Role, ...]:
    """The nodes of an operation in the order of evaluation, with the reasons for which they are part of it.

    `counts` are the `occurrences` of all nodes: a ReLU may be computed by several operations.
    """
    roles: list[Role] = []
    for node, how in op.covered():
        why = _REASONS[how]
        if how is CoveredAs.ON_READING and not isinstance(node, Output) and counts[node.to_tensor] > 1:
            why = RECOMPUTED
        elif how is CoveredAs.ITSELF and isinstance(op, PoolOp) and op.ahead_of:
            why = AHEAD.format(" and ".join(op.ahead_of))
        roles.append(Role(node, why))
    return tuple(roles)


def occurrences(program: Program) -> Mapping[str, int]:
    """How many operations every node is part of, by the tensor it produces."""
    return Counter(node.to_tensor for op in program.ops for node in op.nodes if not isinstance(node, Output))


def vanished(programs: Sequence[tuple[str, Program]]) -> tuple[Role, ...]:
    """Nodes of the graph that are in no operation of the last program; `programs` are those of `stages`."""
    (_, first), *_ = programs
    why: dict[str, str] = {}
    for (_, before), (name, after) in itertools.pairwise(programs):
        left = set(occurrences(after))
        gone = PASSES[name].gone(before)
        for tensor in set(occurrences(before)) - left - why.keys():
            why[tensor] = gone.get(tensor, f"removed by {name}")
    return tuple(Role(layer, why[layer.to_tensor]) for layer in first.graph.layers if layer.to_tensor in why)
