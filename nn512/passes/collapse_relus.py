"""ReLUs in a row become one, with the product of their slopes.

After a slope a >= 0 a negative value is still negative, so the next slope b applies: a*b. After a < 0 it is positive
and stays as it is: a. A slope of 1 that remains in a chain does nothing and goes. Slopes are float32 numbers; two stay
two where their product is neither 0 because one of them is, nor a normal float32.
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
from nn512.passes.rewriting import nearest_single

SMALLEST_NORMAL = 2.0**-126
OVERFLOW = 2.0**128 - 2.0**103  # what rounds to infinity in float32


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
            # where nothing is left to do the result must still be written: by a ReLU of slope 1
            return dataclasses.replace(op, steps=_shortest(op.steps) or (_with_slope(op.steps[-1], 1.0),))
        case LoadOp() | StoreOp() | SoftmaxOp() | ConcatOp() | CopyOp() | RelayoutOp() | PadOp():
            return op
        case _:
            assert_never(op)


def _shortest(steps: Sequence[Step]) -> tuple[Step, ...]:
    result: list[Step] = []
    for step in steps:
        slope = _product(result[-1], step) if result else None
        if slope is None:
            result.append(step)
        else:
            result[-1] = _with_slope(step, slope)
    return tuple(s for s in result if not (isinstance(s.node, Activation) and s.node.param == 1))


def _product(first: Step, second: Step) -> float | None:
    """Slope of two ReLUs in a row; None where they are not, or where float32 cannot hold it."""
    if not (isinstance(first.node, Activation) and isinstance(second.node, Activation)):
        return None
    before, after = nearest_single(first.node.param), nearest_single(second.node.param)
    if before < 0:
        return before
    slope = before * after
    normal = SMALLEST_NORMAL <= abs(slope) < OVERFLOW
    return slope if normal or before == 0 or after == 0 else None


def _with_slope(step: Step, slope: float) -> Step:
    assert isinstance(step.node, Activation)
    return Step(dataclasses.replace(step.node, param=slope))
