"""What each pass did, in numbers: the difference of a count over the program before and after it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from nn512.graph.graph import multiply_accumulates
from nn512.graph.nodes import Conv
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
    StoreOp,
    nodes_of,
)

_PHRASES: Mapping[str, tuple[str, str]] = {
    "thinned": ("1 tensor without pixels that nobody reads", "{} tensors without pixels that nobody reads"),
    "samples": ("1 tensor copied to a smaller one", "{} tensors copied to smaller ones"),
    "after": ("1 batch norm folded into the weights before it", "{} batch norms folded into the weights before them"),
    "before": ("1 batch norm folded into the weights after it", "{} batch norms folded into the weights after them"),
    "ahead": ("1 average taken before its convolution", "{} averages taken before their convolutions"),
    "merged": ("1 convolution merged with another", "{} convolutions merged with others"),
    "epilogue": ("1 step done where its input is computed", "{} steps done where their input is computed"),
    "prologue": ("1 step done where its result is read", "{} steps done where their results are read"),
    "joined": ("1 concatenation written in place", "{} concatenations written in place"),
    "copies": ("1 copy that cannot be avoided", "{} copies that cannot be avoided"),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a pass did: operations before and after it, and what else there is to say."""

    name: str
    before: int
    after: int
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The effect in words."""
        if self.before == self.after:
            return "; ".join(self.notes) or "nothing to do"
        return "; ".join((f"{self.before} -> {self.after} operations", *self.notes))


def effects(programs: Sequence[tuple[str, Program]]) -> tuple[Effect, ...]:
    """What each pass did; `programs` are those of `stages`."""
    result: list[Effect] = []
    for (_, before), (name, after) in itertools.pairwise(programs):
        counts = _count(after)
        counts.subtract(_count(before))
        notes = [
            (one if counts[key] == 1 else many.format(counts[key]))
            for key, (one, many) in _PHRASES.items()
            if counts[key] > 0
        ]
        if counts["work"] < 0:
            notes.append(f"{_mmac(-counts['work'])} MMAC less")
        if counts["nodes"] < 0 and name != "drop_concat":
            notes.append(f"{-counts['nodes']} node{'s' if counts['nodes'] < -1 else ''} gone")
        if not notes and before != after:
            notes.append("another order" if set(map(id, before.ops)) == set(map(id, after.ops)) else "shorter chains")
        result.append(Effect(name, len(before.ops), len(after.ops), tuple(notes)))
    return tuple(result)


def _count(program: Program) -> Counter[str]:
    counts = Counter({"joined": len(program.joined), "thinned": len(program.thinned)})
    for op in program.ops:
        nodes = nodes_of(op)
        counts["nodes"] += len(nodes)
        counts["work"] += sum(multiply_accumulates(node, program.shapes) for node in nodes if isinstance(node, Conv))
        counts.update(_parts(op))
    return counts


def _mmac(work: int) -> str:
    return f"{work / 1e6:,.2f}" if work >= 10_000 else f"{work / 1e6:.6f}"


def _parts(op: Op) -> Mapping[str, int]:
    match op:
        case ConvOp():
            return {
                "before": len(op.normalized),
                "prologue": len(op.prologue),
                "after": sum(len(branch.folded) for branch in op.branches),
                "epilogue": sum(len(branch.epilogue) for branch in op.branches),
                "merged": len(op.branches) - 1,
            }
        case FullyConnectedOp():
            return {"before": len(op.normalized), "after": len(op.folded), "epilogue": len(op.epilogue)}
        case PoolOp():
            samples = int(op.node.kind == SAMPLING)
            fused = {"prologue": len(op.prologue), "epilogue": len(op.epilogue)}
            return {**fused, "ahead": len(op.ahead_of), "samples": samples}
        case ElementwiseOp():
            return {"epilogue": len(op.steps) - 1}
        case CopyOp() | RelayoutOp():
            return {"copies": 1}
        case LoadOp() | StoreOp() | SoftmaxOp() | ConcatOp() | PadOp():
            return {}
        case _:
            assert_never(op)
