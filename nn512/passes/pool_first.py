"""An average moves before the 1x1 convolution that it reads: conv(average(x)) for average(conv(x)).

Both are linear, a 1x1 convolution treats all pixels alike, and the weights of an average sum to one (padding cells take
no part in it): the two orders are the same function, biases and batch norms in the weights included. The convolution
then runs on the pixels that are left: a quarter of them in DenseNet's transitions, one before a global average.

Condition: filter 1x1, stride 1, no padding, any groups; the average is the only reader of the convolution's result,
which is no Output; fewer pixels come out than go in; and the cost model expects it to take less time, as there may be
more channels to average before the convolution than after it. Convolutions that then want the same average share one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import TypeGuard

from nn512.graph.nodes import Shape
from nn512.ir import ConvOp, Op, PoolOp, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers
from nn512.plan.cost import Machine, Work, microseconds
from nn512.plan.layout import LANES, blocks_of


class Exchange(Decision):
    """What becomes of an average and the convolution that it reads."""

    MOVED = "the average is taken before the convolution"
    MOVED_FARTHER = "the average is taken before one more convolution"
    SHARED = "two averages are one before their convolutions"
    COUNTING = "not moved: the average counts its padding"
    READ = "not moved: something else reads the convolution"
    OUTPUT = "not moved: the convolution is an output"
    WINDOW = "not moved: the convolution has a filter, a stride or padding"
    AS_MANY = "not moved: no fewer pixels come out"
    DEAR = "not moved: it would take longer"


def pool_first(program: Program, decided: Decided = unheard) -> Program:
    """The program with every average before its convolution where that saves work."""
    moves = _Moves(program, decided)
    for number in range(len(program.ops)):
        place: int | None = number
        while place is not None:  # the convolution before that one may be another
            place = moves.move_up(place)
    return _share(moves.program(), decided) if moves.any else program


class _Moves:
    """The operations while averages and convolutions change places."""

    def __init__(self, program: Program, decided: Decided) -> None:
        self.any = False
        self._decided = decided
        self._program = program
        self._ops = list(program.ops)
        self._shapes = dict(program.shapes)
        self._outputs = program.outputs
        self._writer = dict(writers(program.ops))
        self._readers = {name: len(numbers) for name, numbers in readers(program.ops).items()}
        self._machine = Machine.of(program.graph.config)

    def program(self) -> Program:
        """The program after all exchanges."""
        return dataclasses.replace(self._program, ops=tuple(self._ops), shapes=self._shapes)

    def move_up(self, number: int) -> int | None:
        """Exchange the average of an operation with the convolution that it reads; where it is then.

        None where it stays.
        """
        pool = self._ops[number]
        if not isinstance(pool, PoolOp) or pool.is_max:
            return None
        place = self._writer[pool.source]
        conv = self._ops[place]
        if not isinstance(conv, ConvOp):
            return None
        decision = self._decision(conv, pool)
        self._decided(decision)
        if decision is not Exchange.MOVED:
            return None
        if pool.ahead_of:
            self._decided(Exchange.MOVED_FARTHER)
        branch = conv.branches[0]
        averaged = self._name(conv.source, pool.writes)
        after = self._shapes[pool.writes]
        self._shapes[averaged] = Shape(self._shapes[conv.source].channels, after.height, after.width)
        # What the convolution computes has no place in memory, but its shape still says how much work it is.
        self._shapes.update(dict.fromkeys((branch.node.to_tensor, *(norm.to_tensor for norm in branch.folded)), after))
        ahead_of = (branch.node.to_tensor, *pool.ahead_of)
        self._ops[place] = dataclasses.replace(pool, source=conv.source, writes=averaged, ahead_of=ahead_of)
        branches = (dataclasses.replace(branch, writes=pool.writes),)
        self._ops[number] = dataclasses.replace(conv, source=averaged, branches=branches)
        self._writer[averaged], self._readers[averaged] = place, 1
        self.any = True
        return place

    def _decision(self, conv: ConvOp, pool: PoolOp) -> Exchange:
        """Whether a pooling moves before the convolution that it reads, and if not, why."""
        if not _is_average(pool):
            return Exchange.COUNTING
        if pool.source in self._outputs:
            return Exchange.OUTPUT
        if self._readers[pool.source] != 1:
            return Exchange.READ
        if not _is_plain(conv):
            return Exchange.WINDOW
        if self._shapes[pool.writes].pixels >= self._shapes[pool.source].pixels:
            return Exchange.AS_MANY
        return Exchange.MOVED if self._pays(conv, pool) else Exchange.DEAR

    def _pays(self, conv: ConvOp, pool: PoolOp) -> bool:
        """Whether convolution and average take less time in the new order, by the cost model.

        Time of the average is that of reading and writing its tensors, in whole blocks of channels; a convolution
        without groups computes whole blocks, too.
        """
        source, between, result = (self._shapes[name] for name in (conv.source, pool.source, pool.writes))
        groups = conv.branches[0].node.groups
        outputs = blocks_of(between.channels) * LANES if groups == 1 else between.channels
        weights = source.channels // groups * outputs

        def convolving(pixels: int) -> float:
            moved = (blocks_of(source.channels) + blocks_of(between.channels)) * LANES * pixels
            return microseconds(Work(weights * pixels, 1.0, 4 * weights, 4 * moved), self._machine)

        def averaging(channels: int) -> float:
            moved = blocks_of(channels) * LANES * (between.pixels + result.pixels)
            return microseconds(Work(0, 1.0, 0, 4 * moved), self._machine)

        now = convolving(between.pixels) + averaging(between.channels)
        return averaging(source.channels) + convolving(result.pixels) < now

    def _name(self, source: str, result: str) -> str:
        """A name for the averages of `source`; no tensor of the user's has an underscore in its name."""
        short = f"{source}_averaged"
        return short if short not in self._shapes else f"{short}_to_{result}"


def _is_average(op: Op) -> TypeGuard[PoolOp]:
    return isinstance(op, PoolOp) and op.sums_to_one and not (op.prologue or op.epilogue)


def _is_plain(op: ConvOp) -> bool:
    """Whether this is one 1x1 convolution and nothing else."""
    return op.is_pointwise and not op.prologue and len(op.branches) == 1 and not op.branches[0].epilogue


def _share(program: Program, decided: Decided) -> Program:
    """The program with averages that moved up computed once: of equal ones the first."""
    names: dict[str, str] = {}
    first: dict[Hashable, int] = {}
    ops: list[Op] = []
    outputs = program.outputs
    for original in program.ops:
        op = original.reading(names)
        if _is_average(op):
            number = first.setdefault(dataclasses.replace(op, ahead_of=()).key, len(ops))
            same = ops[number] if number < len(ops) else None
            if isinstance(same, PoolOp) and (same.ahead_of or op.ahead_of) and op.writes not in outputs:
                decided(Exchange.SHARED)
                names[op.writes] = same.writes
                if same.ahead_of:
                    ops[number] = dataclasses.replace(same, ahead_of=(*same.ahead_of, *op.ahead_of))
                continue
        ops.append(op)
    return dataclasses.replace(program, ops=tuple(ops))


def _gone(program: Program) -> Mapping[str, str]:
    why = "the same average as another, now that it comes before its convolution"
    return {op.node.to_tensor: why for op in program.ops if isinstance(op, PoolOp)}


PASS = Pass(
    "pool_first", pool_first, "convolutions run on fewer pixels behind an average", Exchange, exact=False, gone=_gone
)
