"""Equal operations are computed once, and identities vanish.

Condition: the operation has no parameters of its own (two convolutions never share weights), reads the same tensors as
an earlier one (a sum in either order), and its result is not an Output the user asked for. A ReLU of slope 1 is an
identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping

from nn512.graph.nodes import Activation, Add, BatchNorm
from nn512.passes.program import ConcatOp, ElementwiseOp, Op, PoolOp, Program, SoftmaxOp, Step, tensors_written
from nn512.passes.rewriting import rename_read


def dedup(program: Program) -> Program:
    """The program without repeated operations and identities."""
    return _rewrite(program)[0]


def stand_ins(program: Program) -> Mapping[str, str]:
    """For every tensor that `dedup` drops from a program the one that is read instead."""
    return _rewrite(program)[1]


def _rewrite(program: Program) -> tuple[Program, Mapping[str, str]]:
    names: dict[str, str] = {}
    seen: dict[Hashable, str] = {}
    ops: list[Op] = []
    outputs = program.outputs
    for original in program.ops:
        op = rename_read(original, names)
        if isinstance(op, ElementwiseOp):
            op = _without_self_operand(op)
        key = _key(op)
        if key is None:
            ops.append(op)
            continue
        (name,) = tensors_written(op)
        if name not in outputs:
            if isinstance(op, ElementwiseOp) and all(_is_identity(step) for step in op.steps):
                names[name] = op.source
                continue
            if key in seen:
                names[name] = seen[key]
                continue
        seen.setdefault(key, name)
        ops.append(op)
    return dataclasses.replace(program, ops=tuple(ops)), names


def _is_identity(step: Step) -> bool:
    return isinstance(step.node, Activation) and step.node.param == 1


def _without_self_operand(op: ElementwiseOp) -> ElementwiseOp:
    """Write x + y as x + x where y turned out to be x."""
    first = op.steps[0]
    if isinstance(first.node, Add) and first.operand == op.source:
        return dataclasses.replace(op, steps=(Step(first.node), *op.steps[1:]))
    return op


def _key(op: Op) -> Hashable | None:
    """What two equal operations have in common; None for operations that are never equal."""
    match op:
        case ElementwiseOp(steps=(Step(node=Add(), operand=operand),)):
            return ("Add", frozenset((op.source, operand or op.source)))
        case ElementwiseOp():
            if any(isinstance(step.node, BatchNorm | Add) for step in op.steps):
                return None
            return ("ReLU", op.source, *(step.node.param for step in op.steps if isinstance(step.node, Activation)))
        case PoolOp(prologue=(), epilogue=()):
            return ("Pooling", op.source, op.node.kind, op.node.padding_h, op.node.padding_w)
        case SoftmaxOp():
            return ("Softmax", op.source)
        case ConcatOp():
            return ("Concat", op.sources)
        case _:
            return None
