"""Element-wise operations move into the registers of an operation beside them.

Into the epilogue of their producer: when they are the only reader of its result, and the result is no Output. A sum can
go into the producer of either operand; the later one is taken, since the other operand exists by then. An operation
with several results stays where it is, so a sum's other operand must exist before it.

Into the prologue of their consumer: when a chain without sums has one reader, and that is a pooling or a convolution. A
chain of a few ReLUs and nothing else is cheap enough to compute twice, in readers that are element-wise or poolings.
"""

from __future__ import annotations

import dataclasses

from nn512.ir import Chain, ConvOp, ElementwiseOp, FullyConnectedOp, Op, PoolOp, Program, SampleOp
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers

MOST_RECOMPUTED = 2
LONGEST_RECOMPUTED = 4


def fuse_elementwise(program: Program) -> Program:
    """The program with every element-wise chain fused that can be."""
    fusion = _Fusion(program)
    for number in range(len(program.ops)):
        fusion.into_producer(number)
    for number in range(len(program.ops)):
        fusion.into_consumers(number)
    return dataclasses.replace(program, ops=tuple(op for op in fusion.ops if op is not None))


class _Fusion:
    """The operations while they are fused; None stands where one has gone."""

    def __init__(self, program: Program) -> None:
        self.ops: list[Op | None] = list(program.ops)
        self._outputs = program.outputs
        self._readers = {name: list(numbers) for name, numbers in readers(program.ops).items()}
        self._writer = dict(writers(program.ops))

    def into_producer(self, number: int) -> None:
        """Move the element-wise operation at `number` into the epilogue of the operation that feeds it, if it may."""
        op = self.ops[number]
        if not isinstance(op, ElementwiseOp):
            return
        ways = [way for way in (op, op.swapped()) if way is not None]
        for way in sorted(ways, key=lambda way: self._writer[way.source], reverse=True):
            alone = self._readers[way.source] == [number] and way.source not in self._outputs
            if alone and self._append(way.source, way.chain, number, op.writes):
                return

    def _append(self, source: str, steps: Chain, number: int, result: str) -> bool:
        before = self._writer[source]
        producer = self.ops[before]
        merged: Op
        match producer:
            case ConvOp():
                operands = (operand for step in steps for operand in step.operands)
                if len(producer.branches) > 1 and any(self._writer[operand] >= before for operand in operands):
                    return False
                branches = tuple(
                    dataclasses.replace(b, epilogue=(*b.epilogue, *steps), writes=result) if b.writes == source else b
                    for b in producer.branches
                )
                merged = dataclasses.replace(producer, branches=branches)
            case FullyConnectedOp() | PoolOp() | SampleOp():
                merged = dataclasses.replace(producer, epilogue=(*producer.epilogue, *steps), writes=result)
            case ElementwiseOp():
                merged = dataclasses.replace(producer, chain=(*producer.chain, *steps), writes=result)
            case _:
                return False
        assert producer is not None
        stays = len(producer.tensors_written) > 1
        self._replace((before, number), merged, before if stays else number)
        return True

    def into_consumers(self, number: int) -> None:
        """Move the element-wise operation at `number` into the prologues of its readers, if it may."""
        op = self.ops[number]
        if not isinstance(op, ElementwiseOp) or op.writes in self._outputs:
            return
        if not all(step.may_precede for step in op.chain):
            return
        users = list(self._readers.get(op.writes, ()))  # a copy: replacing a user changes who reads what
        cheap = len(op.chain) <= LONGEST_RECOMPUTED and all(step.is_cheap for step in op.chain)
        if not users or len(set(users)) != len(users) or len(users) > (MOST_RECOMPUTED if cheap else 1):
            return
        fused = [_prepend(self.ops[user], op, alone=len(users) == 1) for user in users]
        if any(f is None for f in fused):
            return
        for user, merged in zip(users, fused, strict=True):
            assert merged is not None
            self._replace((user,), merged, user)
        self._forget(number)

    def _replace(self, numbers: tuple[int, ...], merged: Op, at: int) -> None:
        for number in numbers:
            self._forget(number)
        self.ops[at] = merged
        for name in merged.tensors_read:
            self._readers.setdefault(name, []).append(at)
        for name in merged.tensors_written:
            self._writer[name] = at

    def _forget(self, number: int) -> None:
        op = self.ops[number]
        if op is not None:
            for name in op.tensors_read:
                self._readers[name].remove(number)
        self.ops[number] = None


def _prepend(user: Op | None, op: ElementwiseOp, *, alone: bool) -> Op | None:
    """The user with the chain computed on what it reads; None where it cannot take it."""
    match user:
        case PoolOp(prologue=()) | SampleOp(prologue=()) if user.source == op.writes:
            return dataclasses.replace(user, source=op.source, prologue=op.chain)
        case ElementwiseOp() if user.source == op.writes:
            return dataclasses.replace(user, source=op.source, chain=(*op.chain, *user.chain))
        case ConvOp(prologue=(), normalized=()) if alone and user.source == op.writes:
            return dataclasses.replace(user, source=op.source, prologue=op.chain)
        case _:
            return None


PASS = Pass("fuse_elementwise", fuse_elementwise, "element-wise steps cost next to nothing in registers")
