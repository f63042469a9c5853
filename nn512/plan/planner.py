"""Program to plan: the layout of every tensor, changes of layout where two clash, lifetimes and places in the arena."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nn512.graph.nodes import Shape
from nn512.ir import Chain, ConcatOp, ConvOp, ElementwiseOp, LoadOp, Op, PadOp, Program, RelayoutOp
from nn512.plan.arena import Arena, Buffer, place
from nn512.plan.conv_geometry import has_few_variants
from nn512.plan.layout import Layout, crowded
from nn512.plan.layouts import Layouts
from nn512.plan.planes import read_planes

# Tiles at the left and right edge of a picture have routines of their own; with more than this many (a wide filter
# under wide padding) the code would grow out of hand, and a padded copy of the tensor is the better way.
MOST_EDGE_VARIANTS = 8


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor with its place: shape, layout, offset in the arena in vectors, and the steps between which it lives."""

    name: str
    shape: Shape
    layout: Layout
    offset: int
    vectors: int
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Operations in the order in which they run, and where their tensors are."""

    program: Program
    ops: tuple[Op, ...]
    tensors: Mapping[str, PlacedTensor]
    arena: Arena


def place_tensors(program: Program, in_tiles: Collection[str] = (), in_planes: Collection[str] = ()) -> Placement:
    """Lay out a program.

    Convolutions by their first result: `in_tiles` are those whose prologue needs no scratch memory, `in_planes` those
    that read their source as the caller has it.
    """
    layouts = _Layouts(program)
    ops: list[Op] = []
    for op in read_planes(program, in_planes):
        for piece in _with_padding(op, layouts.shapes):
            ops.extend(layouts.lay_out(piece))
    lifetimes = _lifetimes(ops, program, in_tiles)
    roots = {part: joined.writes for joined in program.joined for part in joined.parts}
    buffers = [
        Buffer(name, layouts.vectors(name), first, last)
        for name, (first, last) in lifetimes.items()
        if name not in roots
    ]
    arena = place(buffers)
    offsets = dict(arena.offsets)
    for joined in reversed(program.joined):  # a whole comes after its parts, so backwards from wholes to parts
        first, second = joined.parts
        offsets[first] = offsets[joined.writes]
        offsets[second] = offsets[joined.writes] + layouts.vectors(first)
    tensors = {
        name: PlacedTensor(
            name, layouts.shapes[name], layouts[name], offsets[name], layouts.vectors(name), first_step, last_step
        )
        for name, (first_step, last_step) in lifetimes.items()
    }
    return Placement(program, tuple(ops), MappingProxyType(tensors), arena)


def _with_padding(op: Op, shapes: dict[str, Shape]) -> list[Op]:
    """The operation, after a copy with zeros around it where tiles at the edges would need too many routines."""
    if not isinstance(op, ConvOp) or op.caller is not None or op.zeros[1]:
        return [op]
    node = op.branches[0].node
    if has_few_variants(node, shapes[op.source], shapes[op.branches[0].writes], MOST_EDGE_VARIANTS):
        return [op]
    shape = shapes[op.source]
    name = f"{op.source}_padded_for_{op.branches[0].writes}"
    shapes[name] = Shape(shape.channels, shape.height + 2 * node.padding_h, shape.width + 2 * node.padding_w)
    source, before = op.source, []
    if op.prologue:  # which must not see the zeros
        source = prologue_scratch(op)
        shapes[source] = shape
        before.append(ElementwiseOp(op.source, op.prologue, source))
    pad = PadOp(source, node.padding_h, node.padding_w, name)
    zeros = (node.padding_h, node.padding_w)
    return [*before, pad, dataclasses.replace(op, source=name, prologue=(), zeros=zeros)]


class _Layouts(Layouts):
    """Layouts of the tensors seen so far, and the relayouts that they take."""

    def __init__(self, program: Program) -> None:
        self.shapes: dict[str, Shape] = dict(program.shapes)
        super().__init__(self.shapes, program.joined)

    def vectors(self, name: str) -> int:
        """Size of a tensor in vectors of 16 floats."""
        return self[name].vectors(self.shapes[name].pixels)

    def lay_out(self, op: Op) -> list[Op]:
        """Give the results of an operation their layouts; the operation, after the relayouts it needs."""
        if isinstance(op, LoadOp) and op.columns:
            node = op.node
            self.shapes[op.writes] = Shape(node.channels, node.height, node.width + 2 * op.columns)
        before: list[Op] = []
        if isinstance(op, ConcatOp):
            op, before = self._uncrowded(op)
        self.see(op)
        if isinstance(op, ConvOp) and op.prologue:
            scratch = prologue_scratch(op)
            self.shapes[scratch] = self.shapes[op.source]
            self[scratch] = self[op.source]
        return [*before, *self._resolve_clashes(op)]

    def _uncrowded(self, op: ConcatOp) -> tuple[ConcatOp, list[Op]]:
        """The concatenation of tensors of few segments, and the copies of them that takes."""
        copies: list[Op] = []
        parts: list[str] = []
        first, second = op.sources
        too_many = crowded(self[first], self[second])
        for number, (source, many) in enumerate(zip(op.sources, too_many, strict=True), 1):
            part = source
            if many:
                part = f"{op.writes}_part{number}"
                self.shapes[part] = self.shapes[source]
                copies.append(RelayoutOp(source, part, crowded=True))
                self.see(copies[-1])
            parts.append(part)
        return dataclasses.replace(op, sources=(parts[0], parts[1])), copies

    def _resolve_clashes(self, op: Op) -> list[Op]:
        """The operation with every operand of its steps in the layout of the result, after the relayouts that takes."""
        relayouts: list[Op] = []

        def aligned(chain: Chain, results: tuple[str, ...]) -> Chain:
            return tuple(step.reading({o: same_lanes(o, *results) for o in step.operands}) for step in chain)

        def same_lanes(operand: str, result: str) -> str:
            if self[operand].same_as(self[result]):
                return operand
            name = f"{operand}_for_{result}"
            if name not in self:
                self[name] = self[result]
                self.shapes[name] = self.shapes[operand]
                relayouts.append(RelayoutOp(operand, name))
            return name

        changed = op.with_chains(aligned)
        return [*relayouts, changed]


def prologue_scratch(op: ConvOp) -> str:
    """Name of the working memory in which a convolution keeps its source after the prologue."""
    return f"{op.branches[0].writes}_input"


def _lifetimes(ops: Sequence[Op], program: Program, in_tiles: Collection[str]) -> dict[str, tuple[int, int]]:
    """First and last step of every tensor; a joined whole lives from its first part on, and its parts as long as it."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, op in enumerate(ops):
        for name in op.tensors_written:
            first[name] = last[name] = number
        for name in op.tensors_read:
            last[name] = number  # of a joined whole, too
        if isinstance(op, ConvOp) and op.prologue and op.branches[0].writes not in in_tiles:
            first[prologue_scratch(op)] = last[prologue_scratch(op)] = number
    for joined in program.joined:
        lasts = [last[name] for name in (*joined.parts, joined.writes) if name in last]
        first[joined.writes] = min(first[part] for part in joined.parts)
        last[joined.writes] = max(lasts)
    for joined in reversed(program.joined):
        last.update(dict.fromkeys(joined.parts, last[joined.writes]))
    return {name: (first[name], last[name]) for name in first}
