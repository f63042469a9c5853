"""Concatenations of channels disappear: what produces a part writes it into its place in the whole.

A part can have only one place. It is copied where it already has one (a tensor in two concatenations, or twice in the
same), and where it is the caller's tensor read in place. It is also copied, to one segment of channels, where the whole
would have too many segments otherwise. The plan lists every copy that remains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nn512.graph.axes import AXES
from nn512.ir import ConcatOp, CopyOp, Joined, Op, Program, RelayoutOp
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.plan.layout import crowded
from nn512.plan.layouts import Layouts


class Joining(Decision):
    """What becomes of a part of a concatenation."""

    IN_PLACE = "written into its place in the whole"
    COPIED = "copied, as it has a place in another whole, or in this one already"
    CROWDED = "copied to one segment, as the whole would have too many"
    OTHER_AXIS = "joined by an operation, as rows or columns are joined"


def drop_concat(program: Program, decided: Decided = unheard) -> Program:
    """The program with joined wholes for all concatenations of channels, and copies where they cannot be avoided."""
    shapes = dict(program.shapes)
    joined: list[Joined] = list(program.joined)
    placed: set[str] = {part for whole in joined for part in whole.parts}
    layouts = Layouts(shapes, joined)
    ops: list[Op] = []
    for op in program.ops:
        if not isinstance(op, ConcatOp) or op.node.axis != AXES[0]:
            if isinstance(op, ConcatOp):
                decided(Joining.OTHER_AXIS)
            layouts.see(op)
            ops.append(op)
            continue
        parts: list[str] = []
        too_many = crowded(*(layouts[name] for name in op.sources))
        for number, (source, many) in enumerate(zip(op.sources, too_many, strict=True), 1):
            part = source
            if many or source in placed:
                decided(Joining.CROWDED if many else Joining.COPIED)
                part = f"{op.writes}_part{number}"
                shapes[part] = shapes[source]
                copy = RelayoutOp(source, part, crowded=True) if many else CopyOp(source, part)
                layouts.see(copy)
                ops.append(copy)
            else:
                decided(Joining.IN_PLACE)
            placed.add(part)
            parts.append(part)
        joined.append(Joined(op.node, tuple(parts), op.writes))
        layouts.join(joined[-1])
    return dataclasses.replace(program, ops=tuple(ops), shapes=shapes, joined=tuple(joined))


def _gone(program: Program) -> Mapping[str, str]:
    why = "no operation: its parts are written into their places"
    return {op.node.to_tensor: why for op in program.ops if isinstance(op, ConcatOp) and op.node.axis == AXES[0]}


PASS = Pass("drop_concat", drop_concat, "what is written in place need not be copied", Joining, gone=_gone)
