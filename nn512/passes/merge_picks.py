"""Slices, shuffles and concatenations of channels in a row become one: each channel moves once.

A tensor that only slices and shuffles read need not be there if they take its channels from where it has them. That is
done where no more channels are moved afterwards than before; slices that begin a block and concatenations move none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nn512.graph.axes import AXES
from nn512.graph.nodes import Layer
from nn512.ir import ConcatOp, Op, PickOp, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers
from nn512.plan.layouts import Layouts

MOST_LAYERS = 16
"""Nodes in one operation at most: whoever reads a long row of them would have to evaluate all of it again."""

MOST_SOURCES = 2
"""Tensors that one operation takes channels from: every one more is a load and a permutation more for a block."""


class Picking(Decision):
    """What becomes of a slice, shuffle or concatenation of channels that others read."""

    MERGED = "done by a reader that picks channels"
    SHARED = "done by each of several readers that pick channels"
    OUTPUT = "not done by its readers: it is an output"
    OTHERS = "not done by its readers: one does more than pick channels"
    SOURCES = "not done by its readers: one would have too many sources"
    COSTLY = "not done by its readers: more channels would be moved"


def merge_picks(program: Program, decided: Decided = unheard) -> Program:
    """The program with as few operations that only move channels as will do."""
    users = readers(program.ops)
    layouts = Layouts(program.shapes, program.joined, program.views)
    for op in program.ops:
        layouts.see(op)
    ops: list[Op | None] = list(program.ops)
    for number, op in reversed(list(enumerate(program.ops))):  # its readers are what they will be
        first = _as_pick(op)
        if first is None:
            continue
        if first.writes in program.outputs:
            decided(Picking.OUTPUT)
            continue
        before = {n: reader for n in users[first.writes] if (reader := ops[n]) is not None}
        merged = {n: one for n, reader in before.items() if (one := _merged(first, reader, decided)) is not None}
        if not merged or len(merged) < len(before):
            decided(Picking.OTHERS)
            continue
        moved = 0 if isinstance(op, ConcatOp) else program.shapes[first.writes].channels
        if _moved(merged.values(), layouts, program) > moved + _moved(before.values(), layouts, program):
            decided(Picking.COSTLY)
        else:
            decided(Picking.MERGED if len(merged) == 1 else Picking.SHARED)
            ops[number] = None
            for n, one in merged.items():
                ops[n] = one
                for source in one.sources:
                    users[source].append(n)
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _as_pick(op: Op) -> PickOp | None:
    """An operation that only moves channels as one that picks them."""
    if isinstance(op, ConcatOp) and op.node.axis == AXES[0]:
        return PickOp(op.sources, (op.node,), op.writes)
    return op if isinstance(op, PickOp) else None


def _merged(first: PickOp, second: Op, decided: Decided) -> PickOp | None:
    """Both in one, if that can be; the second reads the first, under the name that it has in the graph."""
    if not isinstance(second, PickOp) or first.layers[-1].to_tensor != first.writes:
        return None
    before = {layer.to_tensor for layer in first.layers}
    behind = [layer for layer in second.layers if layer.to_tensor not in before]
    if len(behind) + len(first.layers) > MOST_LAYERS or len(behind) < len(second.layers):
        return None
    rest: list[str] = []
    for name, source in _outside(second.layers, second.sources):
        if (name in before) is not (source == first.writes):  # an equal tensor took its place
            return None
        if source != first.writes:
            rest.append(source)
    sources = (*first.sources, *rest)
    if len(set(sources)) > max(MOST_SOURCES, len(set(second.sources))):
        decided(Picking.SOURCES)
        return None
    return PickOp(sources, (*first.layers, *behind), second.writes)


def _outside(layers: Sequence[Layer], sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What layers read that none of them writes: its name in the graph and in the program."""
    own = {layer.to_tensor for layer in layers}
    yield from zip((name for layer in layers for name in layer.reads if name not in own), sources, strict=True)


def _moved(ops: Iterable[Op], layouts: Layouts, program: Program) -> int:
    """Channels that are moved by those of the operations that pick some."""
    picks = (op for op in ops if isinstance(op, PickOp))
    return sum(0 if layouts.begins_a_block(pick) else program.shapes[pick.writes].channels for pick in picks)


def _gone(program: Program) -> Mapping[str, str]:
    why = "no operation of its own: its channels are picked from what it reads"
    return {pick.writes: why for op in program.ops if (pick := _as_pick(op)) is not None}


PASS = Pass("merge_picks", merge_picks, "each channel moves once", Picking, gone=_gone)
