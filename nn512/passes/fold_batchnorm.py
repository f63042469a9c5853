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
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers

MOST_REPEATED = 8
"""A layer's norms of its source, where others have them, too: many norms before many layers would be their product."""


class Folding(Decision):
    """What becomes of a batch norm behind a layer with weights, and of one before such layers."""

    AFTER_CONV = "folded into the convolution before it"
    AFTER_FULL = "folded into the fully connected layer before it"
    AFTER_NORM = "folded behind another norm"
    AFTER_SHARED = "not folded into what is before it: something else reads that"
    AFTER_OUTPUT = "not folded into what is before it: that is an output"
    AFTER_OTHER = "not folded into what is before it: that has no weights"
    BEFORE_ONE = "folded into the layer behind it"
    BEFORE_SEVERAL = "folded into several layers behind it"
    BEFORE_NORM = "folded before another norm"
    BEFORE_OUTPUT = "not folded into what is behind it: it is an output"
    BEFORE_PADDING = "not folded into what is behind it: that is padded"
    BEFORE_OTHER = "not folded into what is behind it: that has no weights"
    BEFORE_MANY = "not folded into what is behind it: too many norms, of several layers"


def fold_batchnorm(program: Program, decided: Decided = unheard) -> Program:
    """The program with every batch norm folded that can be."""
    folded = _fold_after(program, decided)
    return folded if program.graph.config.platform == "AVX512BFloat16" else _fold_before(folded, decided)


def _fold_after(program: Program, decided: Decided) -> Program:
    ops: list[Op | None] = list(program.ops)
    outputs = program.outputs
    uses, made = readers(program.ops), dict(writers(program.ops))
    for number, op in enumerate(program.ops):
        norm = _norm(op)
        if norm is None or not isinstance(op, ElementwiseOp):
            continue
        if len(uses[op.source]) != 1 or op.source in outputs:
            decided(Folding.AFTER_OUTPUT if op.source in outputs else Folding.AFTER_SHARED)
            continue
        producer = made[op.source]
        folded = _absorb(ops[producer], norm, op.writes, decided)
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


def _absorb(producer: Op | None, norm: BatchNorm, writes: str, decided: Decided) -> Op | None:
    match producer:
        case ConvOp(branches=(branch,)) if not branch.epilogue:
            decided(Folding.AFTER_NORM if branch.folded else Folding.AFTER_CONV)
            branch = dataclasses.replace(branch, folded=(*branch.folded, norm), writes=writes)
            return dataclasses.replace(producer, branches=(branch,))
        case FullyConnectedOp(epilogue=()):
            decided(Folding.AFTER_NORM if producer.folded else Folding.AFTER_FULL)
            return dataclasses.replace(producer, folded=(*producer.folded, norm), writes=writes)
        case _:
            decided(Folding.AFTER_OTHER)
            return None


def _fold_before(program: Program, decided: Decided) -> Program:
    ops: list[Op | None] = list(program.ops)
    outputs = program.outputs
    uses = {name: dict.fromkeys(numbers) for name, numbers in readers(program.ops).items()}
    for number in reversed(range(len(ops))):  # backwards, so that of two norms in a row both go
        op = ops[number]
        norm = None if op is None else _norm(op)
        if norm is None or not isinstance(op, ElementwiseOp):
            continue
        if op.writes in outputs:
            decided(Folding.BEFORE_OUTPUT)
            continue
        users = uses.get(op.writes, {})
        replaced = [_normalize(ops[user], norm, op, decided, alone=len(users) == 1) for user in users]
        if not users or any(r is None for r in replaced):
            continue
        decided(Folding.BEFORE_ONE if len(users) == 1 else Folding.BEFORE_SEVERAL)
        if any(isinstance(one, ConvOp | FullyConnectedOp) and len(one.normalized) > 1 for one in replaced):
            decided(Folding.BEFORE_NORM)
        for user, changed in zip(users, replaced, strict=True):
            ops[user] = changed
        ops[number] = None
        del uses[op.source][number]
        uses[op.source].update(users)
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _normalize(user: Op | None, norm: BatchNorm, op: ElementwiseOp, decided: Decided, *, alone: bool) -> Op | None:
    """The user of a batch norm, reading what the batch norm reads; None where that is not possible."""
    match user:
        case ConvOp(prologue=()):
            padded = any(b.node.is_padded for b in user.branches)
        case FullyConnectedOp():
            padded = False
        case _:
            decided(Folding.BEFORE_OTHER)
            return None
    if user.source != op.writes or any(op.writes in step.operands for step in user.steps):
        return None
    if padded:
        decided(Folding.BEFORE_PADDING)
        return None
    if not alone and len(user.normalized) >= MOST_REPEATED:
        decided(Folding.BEFORE_MANY)
        return None
    return dataclasses.replace(user, source=op.source, normalized=(norm, *user.normalized))


PASS = Pass("fold_batchnorm", fold_batchnorm, "batch norms cost nothing as part of weights", Folding)
