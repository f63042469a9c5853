"""Concatenations disappear: what produces a half writes it into its place in the whole.

A half can have only one place. It is copied where it already has one (a tensor in two concatenations, or twice in the
same), and where it is the caller's tensor read in place. The plan lists every copy that remains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nn512.ir import ConcatOp, CopyOp, Joined, Op, Program
from nn512.passes.rewrite import Pass


def drop_concat(program: Program) -> Program:
    """The program with every concatenation replaced by a joined whole, and copies where they cannot be avoided."""
    shapes = dict(program.shapes)
    joined: list[Joined] = list(program.joined)
    placed: set[str] = {part for whole in joined for part in whole.parts}
    ops: list[Op] = []
    for op in program.ops:
        if not isinstance(op, ConcatOp):
            ops.append(op)
            continue
        parts: list[str] = []
        for number, source in enumerate(op.sources, 1):
            part = source
            if source in placed:
                part = f"{op.writes}_part{number}"
                shapes[part] = shapes[source]
                ops.append(CopyOp(source, part))
            placed.add(part)
            parts.append(part)
        joined.append(Joined(op.node, (parts[0], parts[1]), op.writes))
    return dataclasses.replace(program, ops=tuple(ops), shapes=shapes, joined=tuple(joined))


def _gone(program: Program) -> Mapping[str, str]:
    why = "no operation: its parts are written into their places"
    return {op.node.to_tensor: why for op in program.ops if isinstance(op, ConcatOp)}


PASS = Pass("drop_concat", drop_concat, "what is written in place need not be copied", gone=_gone)
