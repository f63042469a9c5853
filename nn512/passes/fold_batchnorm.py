"""Batch norms become part of the weights of the convolution or fully connected layer beside them.

After: the layer's only reader is a batch norm, and its own result is no Output; weights and biases are scaled and
shifted per output channel. Before: every reader of a batch norm is such a layer without padding (with padding, cells
outside the picture would have to become the shift instead of 0), and the batch norm's result is no Output; weights are
scaled per input channel and the shifts go into the biases. Both happen when the net is created, in double, rounded
once.

Norms in a row in front of several layers are folded into each of them, but no more than MOST_REPEATED of them.

For the platform AVX512BFloat16 nothing is folded from before: layers may round what they read there, and that is the
norm's result. As a step on what is read, the norm costs nothing where that is rounded anyway.
"""

from __future__ import annotations

import dataclasses

from nn512.graph.nodes import BatchNorm
from nn512.ir import ConvOp, ElementwiseOp, FullyConnectedOp, NormStep, Op, Program
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers

MOST_REPEATED = 8
"""A layer's norms of its source, where others have them, too: many norms before many layers would be their product."""


def fold_batchnorm(program: Program) -> Program:
    """The program with every batch norm folded that can be."""
    folded = _fold_after(program)
    return folded if program.graph.config.platform == "AVX512BFloat16" else _fold_before(folded)


def _fold_after(program: Program) -> Program:
    ops: list[Op | None] = list(program.ops)
    outputs = program.outputs
    uses, made = readers(program.ops), dict(writers(program.ops))
    for number, op in enumerate(program.ops):
        norm = _norm(op)
        if norm is None or not isinstance(op, ElementwiseOp):
            continue
        if len(uses[op.source]) != 1 or op.source in outputs:
            continue
        producer = made[op.source]
        folded = _absorb(ops[producer], norm, op.writes)
        if folded is not None:
            ops[producer], ops[number] = folded, None
            made[op.writes] = producer
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _norm(op: Op) -> BatchNorm | None:
    """The batch norm of an operation that is nothing else."""
    match op:
        case ElementwiseOp(chain=(NormStep(node=node),)):
            return node
        case _:
            return None


def _absorb(producer: Op | None, norm: BatchNorm, writes: str) -> Op | None:
    match producer:
        case ConvOp(branches=(branch,)) if not branch.epilogue:
            branch = dataclasses.replace(branch, folded=(*branch.folded, norm), writes=writes)
            return dataclasses.replace(producer, branches=(branch,))
        case FullyConnectedOp(epilogue=()):
            return dataclasses.replace(producer, folded=(*producer.folded, norm), writes=writes)
        case _:
            return None


def _fold_before(program: Program) -> Program:
    ops: list[Op | None] = list(program.ops)
    outputs = program.outputs
    uses = {name: dict.fromkeys(numbers) for name, numbers in readers(program.ops).items()}
    for number in reversed(range(len(ops))):  # backwards, so that of two norms in a row both go
        op = ops[number]
        norm = None if op is None else _norm(op)
        if norm is None or not isinstance(op, ElementwiseOp) or op.writes in outputs:
            continue
        users = uses.get(op.writes, {})
        replaced = [_normalize(ops[user], norm, op, alone=len(users) == 1) for user in users]
        if not users or any(r is None for r in replaced):
            continue
        for user, changed in zip(users, replaced, strict=True):
            ops[user] = changed
        ops[number] = None
        del uses[op.source][number]
        uses[op.source].update(users)
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _normalize(user: Op | None, norm: BatchNorm, op: ElementwiseOp, *, alone: bool) -> Op | None:
    """The user of a batch norm, reading what the batch norm reads; None where that is not possible."""
    match user:
        case ConvOp(prologue=()):
            padded = any(b.node.is_padded for b in user.branches)
        case FullyConnectedOp():
            padded = False
        case _:
            return None
    if padded or user.source != op.writes or any(op.writes in step.operands for step in user.steps):
        return None
    if not alone and len(user.normalized) >= MOST_REPEATED:
        return None
    return dataclasses.replace(user, source=op.source, normalized=(norm, *user.normalized))


PASS = Pass("fold_batchnorm", fold_batchnorm, "batch norms cost nothing as part of weights")
