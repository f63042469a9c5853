"""Slices of channels disappear where they begin a block: who reads one reads the blocks of the whole tensor.

What stands in lanes beyond the slice's last channel is of no account, because such lanes may hold anything. A slice is
copied where it begins inside a block, where it takes every few channels, and where it is part of a joined whole, as a
part has its place there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from nn512.ir import Op, PickOp, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.plan.layouts import Layouts


class Viewing(Decision):
    """What becomes of a slice or shuffle of channels."""

    VIEWED = "read where it stands"
    PART = "copied, as it is a part of a whole"
    WITHIN = "copied, as its channels begin no block, or are no run"


def view_slices(program: Program, decided: Decided = unheard) -> Program:
    """The program with views for all slices of channels that need not be copied."""
    placed = {part for whole in program.joined for part in whole.parts}
    layouts = Layouts(program.shapes, program.joined, program.views)
    ops: list[Op] = []
    views = list(program.views)
    for op in program.ops:
        if isinstance(op, PickOp):
            decision = _decision(op, placed, layouts)
            decided(decision)
            if decision is Viewing.VIEWED:
                layouts.view(op)
                views.append(op)
                continue
        layouts.see(op)
        ops.append(op)
    return dataclasses.replace(program, ops=tuple(ops), views=tuple(views))


def _decision(op: PickOp, placed: Collection[str], layouts: Layouts) -> Viewing:
    if not layouts.begins_a_block(op):
        return Viewing.WITHIN
    return Viewing.PART if op.writes in placed else Viewing.VIEWED


def _gone(program: Program) -> Mapping[str, str]:
    return {
        name: f"no operation: its channels begin a block of {view.sources[0]} and are read there"
        for view in view_slices(program).views
        for name in (node.to_tensor for node in view.layers)
    }


PASS = Pass("view_slices", view_slices, "what begins a block is read where it stands", Viewing, gone=_gone)
