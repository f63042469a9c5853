"""Program to operations with layouts: relayouts where two layouts clash, padded copies where they are better."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nn512.graph.axes import AXES
from nn512.graph.nodes import Shape
from nn512.graph.windows import padding_of
from nn512.ir import Chain, ConcatOp, ConvOp, ElementwiseOp, LoadOp, Op, PadOp, Program, RelayoutOp
from nn512.ir.decision import Decided, Decision, unheard
from nn512.plan.conv_geometry import has_few_variants
from nn512.plan.layout import Layout, crowded, in_pairs
from nn512.plan.layouts import Layouts
from nn512.plan.planes import read_planes
from nn512.plan.workspace import Workspace

# Tiles at the left and right edge of a picture have routines of their own; with more than this many (a wide filter
# under wide padding) the code would grow out of hand, and a padded copy of the tensor is the better way.
MOST_EDGE_VARIANTS = 8


class Laying(Decision):
    """What becomes of a tensor that does not lie as an operation wants to read it."""

    PADDED = "copied with zeros around it: routines for all edges would be too many"
    PREPARED = "steps done before the copy with zeros, which they must not see"
    IN_ORDER = "copied without gaps between channels"
    JOINED_LANES = "copied to the lanes of the picture that it is joined to"
    OPERAND_LANES = "copied to the lanes of what it meets"


@dataclass(frozen=True, slots=True)
class Laid:
    """Operations in the order in which they run, with the shape and the layout of every tensor in memory.

    Kernels are chosen on this; then it gets the working memory that they want, and all tensors get their places. Those
    that are `paired` are stored as pairs of bfloat16.
    """

    program: Program
    ops: tuple[Op, ...]
    shapes: Mapping[str, Shape]
    layouts: Mapping[str, Layout]
    paired: frozenset[str] = frozenset()

    def vectors(self, tensor: str) -> int:
        """Size of a tensor in vectors of 16 floats."""
        layout = self.layouts[tensor]
        return (in_pairs(layout) if tensor in self.paired else layout).vectors(self.shapes[tensor].pixels)

    def with_workspaces(self, workspaces: Mapping[str, Workspace]) -> Laid:
        """The same with the tensors that layers have as working memory; `workspaces` go by names of operations."""
        scratches = [scratch for workspace in workspaces.values() for scratch in workspace.shared]
        shapes = {scratch.name: scratch.shape for scratch in scratches}
        layouts = {scratch.name: scratch.layout for scratch in scratches}
        return dataclasses.replace(self, shapes={**self.shapes, **shapes}, layouts={**self.layouts, **layouts})


def lay_out(
    program: Program, in_planes: Collection[str] = (), padding: Collection[str] = (), decided: Decided = unheard
) -> Laid:
    """Lay out a program; the convolutions `in_planes`, by their names, read their source as the caller has it.

    Those that are `padding` its rows themselves read no copy of it. `decided` hears of decisions.
    """
    layouts = _Layouts(program, decided)
    ops: list[Op] = []
    for op in read_planes(program, in_planes, padding):
        for piece in _with_padding(op, layouts.shapes, decided):
            ops.extend(layouts.lay_out(piece))
    names = [name for op in ops for name in op.tensors_written] + [whole.writes for whole in program.joined]
    names += [view.writes for view in program.views]
    known = {name: layouts[name] for name in names}
    return Laid(program, tuple(ops), MappingProxyType(layouts.shapes), MappingProxyType(known))


def _with_padding(op: Op, shapes: dict[str, Shape], decided: Decided) -> list[Op]:
    """The operation, after a copy with zeros around it where tiles at the edges would need too many routines."""
    if not isinstance(op, ConvOp) or op.caller is not None or op.zeros.columns:
        return [op]
    node = op.branches[0].node
    if has_few_variants(node, shapes[op.source], shapes[op.branches[0].writes], MOST_EDGE_VARIANTS):
        return [op]
    decided(Laying.PADDED)
    shape = shapes[op.source]
    name = f"{op.source}_padded_for_{op.branches[0].writes}"
    sides = padding_of(node)
    shapes[name] = sides.around(shape)
    source, before = op.source, []
    if op.prologue:  # which must not see the zeros
        decided(Laying.PREPARED)
        source = op.prepared
        shapes[source] = shape
        before.append(ElementwiseOp(op.source, op.prologue, source))
    return [*before, PadOp(source, sides, name), dataclasses.replace(op, source=name, prologue=(), zeros=sides)]


class _Layouts(Layouts):
    """Layouts of the tensors seen so far, and the relayouts that they take."""

    def __init__(self, program: Program, decided: Decided) -> None:
        self._decided = decided
        self.shapes: dict[str, Shape] = dict(program.shapes)
        super().__init__(self.shapes, program.joined, program.views)

    def lay_out(self, op: Op) -> list[Op]:
        """Give the results of an operation their layouts; the operation, after the relayouts it needs."""
        if isinstance(op, LoadOp) and op.columns is not None:
            node = op.node
            self.shapes[op.writes] = Shape(node.channels, node.height, node.width + sum(op.columns))
        before: list[Op] = []
        if isinstance(op, ConcatOp):
            op, before = self._uncrowded(op) if op.node.axis == AXES[0] else self._alike(op)
        if op.reads_in_order:
            op, before = self._in_order(op)
        self.see(op)
        return [*before, *self._resolve_clashes(op)]

    def _in_order(self, op: Op) -> tuple[Op, list[Op]]:
        """The operation on channels in order, without gaps, and the copy that takes."""
        source = op.tensors_read[0]
        if self[source].regular:
            return op, []
        self._decided(Laying.IN_ORDER)
        name, copies = f"{source}_in_order", list[Op]()
        if name not in self:
            self.shapes[name] = self.shapes[source]
            copies.append(RelayoutOp(source, name))
            self.see(copies[-1])
        return op.reading({source: name}), copies

    def _uncrowded(self, op: ConcatOp) -> tuple[ConcatOp, list[Op]]:
        """The concatenation of tensors of few segments, and the copies of them that takes."""
        copies: list[Op] = []
        parts: list[str] = []
        too_many = crowded(*(self[name] for name in op.sources))
        for number, (source, many) in enumerate(zip(op.sources, too_many, strict=True), 1):
            part = source
            if many:
                part = f"{op.writes}_part{number}"
                self.shapes[part] = self.shapes[source]
                copies.append(RelayoutOp(source, part, crowded=True))
                self.see(copies[-1])
            parts.append(part)
        return dataclasses.replace(op, sources=tuple(parts)), copies

    def _alike(self, op: ConcatOp) -> tuple[ConcatOp, list[Op]]:
        """The concatenation of pictures that have their channels in the lanes of the first, and the copies it takes."""
        first, *others = op.sources
        relayouts: list[Op] = []
        alike = [
            self._in_lanes_of(first, other, f"{other}_for_{op.writes}", relayouts, Laying.JOINED_LANES)
            for other in others
        ]
        return dataclasses.replace(op, sources=(first, *alike)), relayouts

    def _resolve_clashes(self, op: Op) -> list[Op]:
        """The operation with every operand of its steps in the layout of the result, after the relayouts that takes.

        Operands of steps on what is read have the layout of that. What has one channel for all others stays as it is.
        """
        relayouts: list[Op] = []

        def aligned(chain: Chain, results: tuple[str, ...]) -> Chain:
            models = results or op.tensors_read[:1]
            return tuple(step.reading({o: same_lanes(o, *models) for o in step.operands_in_lanes}) for step in chain)

        def same_lanes(operand: str, result: str) -> str:
            return self._in_lanes_of(result, operand, f"{operand}_for_{result}", relayouts, Laying.OPERAND_LANES)

        changed = op.with_chains(aligned)
        return [*relayouts, changed]

    def _in_lanes_of(self, model: str, tensor: str, name: str, relayouts: list[Op], decision: Laying) -> str:
        """The tensor in the layout of the model: itself, or a copy of that name, which is added to the relayouts.

        The decision is that for a copy.
        """
        if self[tensor].same_as(self[model]):
            return tensor
        self._decided(decision)
        if name not in self:
            self[name] = self[model]
            self.shapes[name] = self.shapes[tensor]
            relayouts.append(RelayoutOp(tensor, name))
        return name
