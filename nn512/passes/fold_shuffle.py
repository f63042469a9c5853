"""Shuffles become the order of weights: what reads one takes the channels from where they stand before it.

Every reader must be a convolution of one group or a fully connected layer. Its weights are packed for the channels in
the order in which they stand in memory, and nothing is moved. Steps in between have no value of their own for each
channel: those would have to be packed in that order, too. Norms that are folded into the weights may be there.

A depthwise convolution may come between: it is then packed in that order and leaves its result in it, a tensor that the
graph does not have, and what reads that must do as above.

A shuffle stays where it puts the parts of a concatenation into fewer blocks, and layers behind it would compute more of
them. 1x1 convolutions and fully connected layers in single precision skip empty lanes.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping

from nn512.graph.nodes import Shape, Shuffle
from nn512.ir import ConvOp, FullyConnectedOp, Op, PickOp, Program, Stride
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers
from nn512.plan.layout import natural
from nn512.plan.layouts import Layouts

_Weighted = ConvOp | FullyConnectedOp


class Unmoving(Decision):
    """What becomes of a shuffle."""

    FOLDED = "the order of the weights of the only layer that reads it"
    SHARED = "the order of the weights of several layers that read it"
    THROUGH = "the order of the weights of depthwise convolutions, and of all that reads these"
    OUTPUT = "computed, as it is an output, or what a depthwise convolution makes of it is"
    OTHERS = "computed, as something without weights reads it"
    GROUPS = "computed, as a grouped convolution reads it"
    STEPS = "computed, as steps on what a convolution reads, or beside a depthwise one, differ from channel to channel"
    AGAIN = "computed, as another shuffle is the order of the weights behind it"
    BLOCKS = "computed, as it makes fewer blocks of what it reads"


def fold_shuffle(program: Program, decided: Decided = unheard) -> Program:
    """The program without the shuffles that can be the order of weights."""
    return _Folding(program, decided).program()


class _Folding:
    """The operations while shuffles become orders of weights; None stands where one has gone."""

    def __init__(self, program: Program, decided: Decided) -> None:
        self._program = program
        self._decided = decided
        self._ops: list[Op | None] = list(program.ops)
        self._users = defaultdict(list, readers(program.ops))
        self._shapes: dict[str, Shape] = dict(program.shapes)
        self._thinned: dict[str, Stride] = dict(program.thinned)
        self._layouts = Layouts(program.shapes, program.joined, program.views)
        for op in program.ops:
            self._layouts.see(op)

    def program(self) -> Program:
        """The program afterwards."""
        for number, op in reversed(list(enumerate(self._program.ops))):  # of two in a row the last is behind
            if isinstance(op, PickOp) and isinstance(shuffle := op.layers[0], Shuffle):
                self._fold(number, op, shuffle)
        ops = tuple(op for op in self._ops if op is not None)
        return dataclasses.replace(self._program, ops=ops, shapes=self._shapes, thinned=self._thinned)

    def _fold(self, number: int, op: PickOp, shuffle: Shuffle) -> None:
        """Put a shuffle into the weights behind it, if that can be."""
        (source,) = op.sources
        changed = self._unshuffled(source, op.writes, shuffle)
        if not isinstance(changed, Unmoving) and self._is_looser(source, changed.values()):
            changed = Unmoving.BLOCKS
        if isinstance(changed, Unmoving):
            self._decided(changed)
            return
        between = {name for reader in changed.values() if _is_grouped(reader) for name in reader.tensors_written}
        self._decided(Unmoving.THROUGH if between else Unmoving.FOLDED if len(changed) == 1 else Unmoving.SHARED)
        self._ops[number] = None
        for user, reader in changed.items():
            for before, after in zip(self._written(user), reader.tensors_written, strict=True):
                if before != after:
                    self._shapes[after] = self._shapes[before]
                    self._users[after] = self._users[before]
                    if before in self._thinned:
                        self._thinned[after] = self._thinned[before]
            self._ops[user] = reader
            if reader.source not in between:
                self._users[reader.source].append(user)

    def _written(self, number: int) -> tuple[str, ...]:
        op = self._ops[number]
        return () if op is None else op.tensors_written

    def _unshuffled(self, source: str, shuffled: str, shuffle: Shuffle) -> Mapping[int, _Weighted] | Unmoving:
        """All that reads a shuffled tensor, reading the one before the shuffle; why not, where that cannot be."""
        changed: dict[int, _Weighted] = {}
        waiting = [(shuffled, source)]
        while waiting:
            name, before = waiting.pop()
            if name in self._program.outputs:
                return Unmoving.OUTPUT
            for number in self._users[name]:
                reader = self._ops[number]
                if reader is None:
                    continue
                if not isinstance(reader, _Weighted) or reader.source != name or reader.tensors_read.count(name) > 1:
                    return Unmoving.OTHERS
                if (why := self._refusal(reader)) is not None:
                    return why
                reader = dataclasses.replace(reader, source=before, shuffled=shuffle)
                if isinstance(reader, ConvOp) and _is_grouped(reader):
                    (branch,) = reader.branches
                    after = f"{branch.writes}_unshuffled"
                    waiting.append((branch.writes, after))
                    reader = dataclasses.replace(reader, branches=(dataclasses.replace(branch, writes=after),))
                changed[number] = reader
        return changed

    def _refusal(self, reader: _Weighted) -> Unmoving | None:
        """Why a layer cannot have its weights in another order; None if it can."""
        if reader.shuffled is not None:
            return Unmoving.AGAIN
        if isinstance(reader, FullyConnectedOp):
            return None
        steps = reader.prologue
        if _is_grouped(reader):
            if not reader.node.groups == reader.node.to_channels == self._shapes[reader.source].channels:
                return Unmoving.GROUPS
            steps = reader.steps
        return None if not any(step.has_parameters or step.operands_in_lanes for step in steps) else Unmoving.STEPS

    def _is_looser(self, source: str, changed: Iterable[_Weighted]) -> bool:
        """Whether layers compute more where channels stand in the blocks of the source.

        Pairs are made of all lanes. A depthwise convolution computes a block about as fast as it would be moved.
        """
        layout = self._layouts[source]
        blocks, least = layout.block_count, natural(layout.channels).block_count
        if blocks == least:
            return False
        if self._program.graph.config.platform == "AVX512BFloat16":
            return True
        return not all(blocks < 2 * least if _is_grouped(reader) else _skips_lanes(reader) for reader in changed)


def _is_grouped(reader: _Weighted) -> bool:
    """Whether this is a convolution of several groups: a depthwise one, if it has its weights in another order."""
    return isinstance(reader, ConvOp) and reader.node.groups > 1


def _skips_lanes(reader: _Weighted) -> bool:
    """Whether inputs cost nothing where lanes between them are empty."""
    return isinstance(reader, FullyConnectedOp) or reader.is_pointwise


PASS = Pass("fold_shuffle", fold_shuffle, "a shuffle moves nothing as the order of weights", Unmoving)
