"""Element-wise operations move into the registers of an operation beside them.

Into the epilogue of their producer: when they are the only reader of its result, and the result is no Output. A sum or
another function of two tensors of one shape can go into the producer of either; the later one is taken, since the other
operand exists by then. An operation with several results stays where it is, so the other operand must exist before it.
An operand that is one element for many pixels, but not for all, takes a pass of its own.

Into the prologue of their consumer: when a chain has one reader, and that is a pooling or a convolution, and what its
steps read besides the value is the same for all pixels: parameters, or operands of one pixel. A norm over channels goes
from pixel to pixel, too, and so takes operands of the value's shape as well. A chain of a few ReLUs and nothing else is
cheap enough to compute twice, in readers that are element-wise, poolings or such norms. Poolings with windows that
overlap far take none: they would compute it for every window that sees a pixel.
"""

from __future__ import annotations

import dataclasses

from nn512.ir import (
    Chain,
    ChannelNormOp,
    ConvOp,
    ElementwiseOp,
    ElementwiseStep,
    Op,
    OpWithEpilogue,
    PoolOp,
    Program,
    SampleOp,
)
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers

MOST_RECOMPUTED = 2
LONGEST_RECOMPUTED = 4
MOST_WINDOWS = 4
"""A chain is computed anew for each window that sees a pixel: 2.25 of 3x3 with stride 2, but 9 with stride 1."""


class Fusing(Decision):
    """What becomes of an element-wise operation: first beside what it reads, then beside what reads it."""

    INTO_CONV = "done where a convolution computes what it reads"
    INTO_MERGED = "done where one of several merged convolutions computes what it reads"
    INTO_CHAIN = "done after the steps that compute what it reads"
    INTO_OTHER = "done where another operation computes what it reads"
    INTO_SECOND = "done where its second operand is computed"
    SHARED = "not done where what it reads is computed: something else reads that"
    OUTPUT = "not done where what it reads is computed: that is an output"
    LATER = "not done where what it reads is computed: an operand comes later than merged convolutions"
    NO_STEPS = "not done where what it reads is computed: that takes no steps"
    SPREAD = "not done where what it reads is computed: an operand is one element for some pixels"
    ON_POOLING = "done on what a pooling reads"
    ON_SAMPLE = "done on what is copied to a smaller tensor"
    ON_CONV = "done on what a convolution reads"
    ON_NORM = "done on what a norm over channels reads"
    ON_CHAIN = "done before the steps that read it"
    ON_TWO = "done on what each of two operations reads"
    READ_OUTPUT = "not done on reading: it is an output"
    READ_BY_PIXEL = "not done on reading: an operand is read by pixel"
    READ_OFTEN = "not done on reading: too many operations read it"
    READ_TWICE = "not done on reading: one operation reads it twice"
    READ_WINDOWS = "not done on reading: too many windows see a pixel"
    READ_NORMS = "not done on reading: norms are in the weights of what reads it"
    READ_OTHERWISE = "not done on reading: what reads it takes no steps"


def fuse_elementwise(program: Program, decided: Decided = unheard) -> Program:
    """The program with every element-wise chain fused that can be."""
    fusion = _Fusion(program, decided)
    for number in range(len(program.ops)):
        fusion.into_producer(number)
    fusion.finish()
    for number in range(len(program.ops)):
        fusion.into_consumers(number)
    return dataclasses.replace(program, ops=tuple(op for op in fusion.ops if op is not None))


class _Fusion:
    """The operations while they are fused; None stands where one has gone.

    Readers and writers are known by the numbers of the operations as they were before; `_now` says where they are. What
    follows an operation is collected in `_tails`, by the tensor that it writes itself, until `finish` puts it there: a
    long chain is not copied with every step that it gains.
    """

    def __init__(self, program: Program, decided: Decided) -> None:
        self._decided = decided
        self.ops: list[Op | None] = list(program.ops)
        self._outputs = program.outputs
        self._readers = readers(program.ops)
        self._writer = writers(program.ops)
        self._moved: dict[int, int] = {}
        self._own = {name: name for name in self._writer}
        self._tails: dict[str, list[ElementwiseStep]] = {}
        self._results: dict[str, str] = {}

    def _now(self, number: int) -> int:
        """Where an operation is after all that has been fused."""
        path = []
        while number in self._moved:
            path.append(number)
            number = self._moved[number]
        self._moved.update(dict.fromkeys(path, number))
        return number

    def into_producer(self, number: int) -> None:
        """Move the element-wise operation at `number` into the epilogue of the operation that feeds it, if it may."""
        op = self.ops[number]
        if not isinstance(op, ElementwiseOp):
            return
        ways = [way for way in (op, op.swapped()) if way is not None]
        for way in sorted(ways, key=lambda way: self._now(self._writer[way.source]), reverse=True):
            alone = len(self._readers[way.source]) == 1 and way.source not in self._outputs
            if not alone:
                self._decided(Fusing.OUTPUT if way.source in self._outputs else Fusing.SHARED)
            elif self._append(way.source, way.chain, number, op.writes):
                if way is not op:
                    self._decided(Fusing.INTO_SECOND)
                return

    def _append(self, source: str, steps: Chain, number: int, result: str) -> bool:
        before = self._now(self._writer[source])
        producer = self.ops[before]
        stays = False
        match producer:
            case ConvOp():
                operands = (operand for step in steps for operand in step.operands)
                stays = len(producer.branches) > 1
                if stays and any(self._now(self._writer[operand]) >= before for operand in operands):
                    self._decided(Fusing.LATER)
                    return False
                decision = Fusing.INTO_MERGED if stays else Fusing.INTO_CONV
            case ElementwiseOp():
                decision = Fusing.INTO_CHAIN
            case _ if isinstance(producer, OpWithEpilogue):
                decision = Fusing.INTO_OTHER
            case _:
                self._decided(Fusing.NO_STEPS)
                return False
        if not (isinstance(producer, ElementwiseOp) or all(step.may_follow for step in steps)):
            self._decided(Fusing.SPREAD)
            return False
        self._decided(decision)
        own = self._own[source]
        self._tails.setdefault(own, []).extend(steps)
        self._results[own] = result
        self._own[result] = own
        if stays:
            self.ops[number] = None
            self._moved[number] = before
        else:
            self.ops[before], self.ops[number] = None, producer
            self._moved[before] = number
        return True

    def finish(self) -> None:
        """Put what has been collected where it belongs."""
        self.ops = [None if op is None else self._with_tails(op) for op in self.ops]

    def _with_tails(self, op: Op) -> Op:
        names = [name for name in op.tensors_written if name in self._tails]
        if not names:
            return op
        match op:
            case ConvOp():
                branches = tuple(
                    dataclasses.replace(
                        b, epilogue=(*b.epilogue, *self._tails[b.writes]), writes=self._results[b.writes]
                    )
                    if b.writes in self._tails
                    else b
                    for b in op.branches
                )
                return dataclasses.replace(op, branches=branches)
            case ElementwiseOp():
                (name,) = names
                return dataclasses.replace(op, chain=(*op.chain, *self._tails[name]), writes=self._results[name])
            case _:
                assert isinstance(op, OpWithEpilogue)
                (name,) = names
                epilogue = (*op.epilogue, *self._tails[name])
                return dataclasses.replace(op, epilogue=epilogue, writes=self._results[name])

    def into_consumers(self, number: int) -> None:
        """Move the element-wise operation at `number` into the prologues of its readers, if it may."""
        op = self.ops[number]
        if not isinstance(op, ElementwiseOp):
            return
        if op.writes in self._outputs:
            self._decided(Fusing.READ_OUTPUT)
            return
        users = self._readers.get(op.writes, ())
        cheap = len(op.chain) <= LONGEST_RECOMPUTED and all(step.is_cheap for step in op.chain)
        if not users or len(users) > (MOST_RECOMPUTED if cheap else 1):
            self._decided(Fusing.READ_OFTEN)
            return
        places = [self._now(user) for user in users]
        if len(set(places)) != len(places):
            self._decided(Fusing.READ_TWICE)
            return
        ways = [_prepend(self.ops[place], op, alone=len(users) == 1) for place in places]
        fused = [merged for _, merged in ways if merged is not None]
        refused = len(fused) < len(ways)
        for decision, merged in ways:
            if refused == (merged is None):
                self._decided(decision)
        if refused:
            return
        if len(fused) > 1:
            self._decided(Fusing.ON_TWO)
        for place, merged in zip(places, fused, strict=True):
            self.ops[place] = merged
        self.ops[number] = None  # nobody asks who reads its source any more: what writes that had its turn before


def _prepend(user: Op | None, op: ElementwiseOp, *, alone: bool) -> tuple[Fusing, Op | None]:
    """What becomes of a chain at a reader, and that with the chain on what it reads; None where it cannot take it."""
    match user:
        case ChannelNormOp(prologue=()) if user.source == op.writes and all(step.may_follow for step in op.chain):
            return Fusing.ON_NORM, dataclasses.replace(user, source=op.source, prologue=op.chain)
        case _ if not all(step.may_precede for step in op.chain):
            return Fusing.READ_BY_PIXEL, None
        case PoolOp() if user.times_read > MOST_WINDOWS:
            return Fusing.READ_WINDOWS, None
        case PoolOp(prologue=()) if user.source == op.writes:
            return Fusing.ON_POOLING, dataclasses.replace(user, source=op.source, prologue=op.chain)
        case SampleOp(prologue=()) if user.source == op.writes:
            return Fusing.ON_SAMPLE, dataclasses.replace(user, source=op.source, prologue=op.chain)
        case ElementwiseOp() if user.source == op.writes:
            return Fusing.ON_CHAIN, dataclasses.replace(user, source=op.source, chain=(*op.chain, *user.chain))
        case ConvOp(prologue=(), normalized=()) if alone and user.source == op.writes:
            return Fusing.ON_CONV, dataclasses.replace(user, source=op.source, prologue=op.chain)
        case ConvOp(normalized=(_, *_)):
            return Fusing.READ_NORMS, None
        case _:
            return Fusing.READ_OTHERWISE, None


PASS = Pass("fuse_elementwise", fuse_elementwise, "element-wise steps cost next to nothing in registers", Fusing)
