"""Convolutions of the same geometry that read the same tensor run as one, with stacked output channels.

Condition: same source, filter, stride, padding and dilation, one group each; what their epilogues read exists before
the first of them; and they do not meet in one sum (which either of them could take into its epilogue instead). ResNet's
projection and the first 1x1 of a stage are such a pair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

from nn512.ir import ConvOp, ElementwiseOp, Op, Program
from nn512.ir.steps import node_key
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers


def merge_convs(program: Program) -> Program:
    """The program with similar convolutions merged into the first of them."""
    merged: dict[Hashable, int] = {}
    ops: list[Op | None] = list(program.ops)
    uses = readers(program.ops)
    made = writers(program.ops)
    for number, op in enumerate(program.ops):
        if not isinstance(op, ConvOp) or len(op.branches) != 1 or op.node.groups != 1:
            continue
        first = merged.setdefault(_key(op), number)
        target = ops[first]
        if first == number or not isinstance(target, ConvOp):
            continue
        operands = [operand for step in op.branches[0].epilogue for operand in step.operands]
        if any(made[operand] >= first for operand in operands):
            continue
        together = {user for branch in target.branches for user in uses[branch.writes]}
        meeting = together.intersection(uses[op.branches[0].writes])
        if any(isinstance(ops[user], ElementwiseOp) for user in meeting):
            continue
        ops[first] = dataclasses.replace(target, branches=(*target.branches, *op.branches))
        ops[number] = None
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _key(op: ConvOp) -> Hashable:
    """What two convolutions that can be merged agree in: everything but weights, output channels and what follows."""
    return op.source, op.normalized, op.prologue, node_key(dataclasses.replace(op.node, to_channels=1))


PASS = Pass("merge_convs", merge_convs, "a tensor is read once for several convolutions")
