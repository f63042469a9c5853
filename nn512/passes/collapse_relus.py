"""ReLUs in a row become one, with the product of their slopes.

After a slope a >= 0 a negative value is still negative, so the next slope b applies: a*b. After a < 0 it is positive and
stays as it is: a. A slope of 1 that remains in a chain does nothing and goes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import assert_never

from nn512.graph.nodes import Activation
from nn512.passes.program import (
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
)


def collapse_relus(program: Program) -> Program:
    """The program with runs of ReLUs collapsed in every chain."""
    return dataclasses.replace(program, ops=tuple(_collapse(op) for op in program.ops))


def _collapse(op: Op) -> Op:
    match op:
        case ConvOp():
            branches = tuple(dataclasses.replace(b, epilogue=_shortest(b.epilogue)) for b in op.branches)
            return dataclasses.replace(op, prologue=_shortest(op.prologue), branches=branches)
        case FullyConnectedOp():
            return dataclasses.replace(op, epilogue=_shortest(op.epilogue))
        case PoolOp():
            return dataclasses.replace(op, prologue=_shortest(op.prologue), epilogue=_shortest(op.epilogue))
        case ElementwiseOp():
            # a chain must keep a step: what is left of an operation has to write its result
            return dataclasses.replace(op, steps=_shortest(op.steps) or op.steps[-1:])
        case LoadOp() | StoreOp() | SoftmaxOp() | ConcatOp() | CopyOp() | RelayoutOp() | PadOp():
            return op
        case _:
            assert_never(op)


def _shortest(steps: Sequence[Step]) -> tuple[Step, ...]:
    result: list[Step] = []
    for step in steps:
        node = step.node
        before = result[-1].node if result else None
        if isinstance(node, Activation) and isinstance(before, Activation):
            slope = before.param * node.param if before.param >= 0 else before.param
            result[-1] = Step(dataclasses.replace(node, from_tensor=before.from_tensor, param=slope))
        else:
            result.append(step)
    return tuple(s for s in result if not (isinstance(s.node, Activation) and s.node.param == 1))
