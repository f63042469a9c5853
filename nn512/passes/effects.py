"""What each pass did, in numbers: the difference of a count over the program before and after it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.graph import multiply_accumulates
from nn512.graph.nodes import Conv
from nn512.ir import CoveredAs, Program

_COUNTED: Mapping[CoveredAs, str] = {
    CoveredAs.SHUFFLED: "shuffled",
    CoveredAs.FOLDED_BEFORE: "before",
    CoveredAs.FOLDED_AFTER: "after",
    CoveredAs.ON_READING: "prologue",
    CoveredAs.IN_REGISTERS: "epilogue",
    CoveredAs.MERGED: "merged",
}
"""Under which word the parts of operations are counted; others are not."""

_PHRASES: Mapping[str, tuple[str, str]] = {
    "thinned": ("1 tensor without pixels that nobody reads", "{} tensors without pixels that nobody reads"),
    "samples": ("1 tensor copied to a smaller one", "{} tensors copied to smaller ones"),
    "after": ("1 batch norm folded into the weights before it", "{} batch norms folded into the weights before them"),
    "before": ("1 batch norm folded into the weights after it", "{} batch norms folded into the weights after them"),
    "shuffled": (
        "1 layer with its weights in the order before a shuffle",
        "{} layers with their weights in the order before a shuffle",
    ),
    "ahead": ("1 average taken before its convolution", "{} averages taken before their convolutions"),
    "merged": ("1 convolution merged with another", "{} convolutions merged with others"),
    "epilogue": ("1 step done where its input is computed", "{} steps done where their input is computed"),
    "prologue": ("1 step done where its result is read", "{} steps done where their results are read"),
    "joined": ("1 concatenation written in place", "{} concatenations written in place"),
    "picked": ("1 node done by what picks channels of it", "{} nodes done by what picks channels of them"),
    "views": ("1 slice read where it stands", "{} slices read where they stand"),
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
    counted = [(name, program, _count(program)) for name, program in programs]
    for (_, before, counts_before), (name, after, counts_after) in itertools.pairwise(counted):
        counts = counts_after.copy()
        counts.subtract(counts_before)
        notes = [
            (one if counts[key] == 1 else many.format(counts[key]))
            for key, (one, many) in _PHRASES.items()
            if counts[key] > 0
        ]
        if counts["work"] < 0:
            notes.append(f"{_mmac(-counts['work'])} MMAC less")
        if counts["nodes"] < 0:
            notes.append(f"{-counts['nodes']} node{'s' if counts['nodes'] < -1 else ''} gone")
        if not notes and before != after:
            notes.append("another order" if set(map(id, before.ops)) == set(map(id, after.ops)) else "shorter chains")
        result.append(Effect(name, len(before.ops), len(after.ops), tuple(notes)))
    return tuple(result)


def _count(program: Program) -> Counter[str]:
    counts = Counter({"joined": len(program.joined), "views": len(program.views), "thinned": len(program.thinned)})
    counts["nodes"] = len(program.joined) + sum(len(view.layers) for view in program.views)
    for view in program.views:
        counts.update(view.counts)
    for op in program.ops:
        for node, how in op.covered():
            counts["nodes"] += 1
            counts["work"] += multiply_accumulates(node, program.shapes) if isinstance(node, Conv) else 0
            if how in _COUNTED:
                counts[_COUNTED[how]] += 1
        counts.update(op.counts)
    return counts


def _mmac(work: int) -> str:
    return f"{work / 1e6:,.2f}" if work >= 10_000 else f"{work / 1e6:.6f}"
