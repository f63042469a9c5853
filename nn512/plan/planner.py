"""Program to plan: the layout of every tensor, changes of layout where two clash, lifetimes and places in the arena."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import assert_never

from nn512.graph.nodes import Shape
from nn512.kernels.conv_geometry import edge_variants
from nn512.passes.program import (
    ConcatOp,
    ConvOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    Op,
    PadOp,
    PoolOp,
    Program,
    RelayoutOp,
    SoftmaxOp,
    Step,
    StoreOp,
    tensors_read,
    tensors_written,
)
from nn512.plan.arena import Arena, Buffer, place
from nn512.plan.layout import Layout


# Tiles at the left and right edge of a picture have routines of their own; with more than this many (a wide filter
# under wide padding) the code would grow out of hand, and a padded copy of the tensor is the better way.
MOST_EDGE_VARIANTS = 8


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the plan: shape, layout, offset in the arena in vectors, and the steps between which it lives."""

    name: str
    shape: Shape
    layout: Layout
    offset: int
    vectors: int
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in the order in which they run, and where their tensors are."""

    program: Program
    ops: tuple[Op, ...]
    tensors: Mapping[str, PlannedTensor]
    arena: Arena


def make_plan(program: Program) -> Plan:
    """Lay out a program."""
    layouts: dict[str, Layout] = {}
    shapes: dict[str, Shape] = dict(program.shapes)
    ops: list[Op] = []
    for op in program.ops:
        for piece in _with_padding(op, shapes):
            ops.extend(_with_layouts(piece, layouts, shapes))
    lifetimes = _lifetimes(ops)
    buffers = [
        Buffer(name, len(layouts[name].blocks) * shapes[name].pixels, first, last)
        for name, (first, last) in lifetimes.items()
    ]
    arena = place(buffers)
    tensors = {
        b.name: PlannedTensor(b.name, shapes[b.name], layouts[b.name], arena.offsets[b.name], b.size, b.first, b.last)
        for b in buffers
    }
    return Plan(program, tuple(ops), MappingProxyType(tensors), arena)


def _with_padding(op: Op, shapes: dict[str, Shape]) -> list[Op]:
    """The operation, after a copy with zeros around it where tiles at the edges would need too many routines."""
    if not isinstance(op, ConvOp):
        return [op]
    node = op.branches[0].node
    variants = edge_variants(node, shapes[op.source], shapes[op.branches[0].writes])
    if variants is not None and variants <= MOST_EDGE_VARIANTS:
        return [op]
    shape = shapes[op.source]
    name = f"{op.source}_padded_for_{op.branches[0].writes}"
    shapes[name] = Shape(shape.channels, shape.height + 2 * node.padding_h, shape.width + 2 * node.padding_w)
    pad = PadOp(op.source, node.padding_h, node.padding_w, name)
    return [pad, dataclasses.replace(op, source=name, padded=True)]


def _with_layouts(op: Op, layouts: dict[str, Layout], shapes: dict[str, Shape]) -> list[Op]:
    """Give the results of an operation their layouts; the operation, after the relayouts it needs."""

    def natural(name: str) -> Layout:
        return Layout((shapes[name].channels,))

    match op:
        case LoadOp():
            layouts[op.writes] = natural(op.writes)
        case ConvOp():
            for branch in op.branches:
                layouts[branch.writes] = natural(branch.writes)
        case FullyConnectedOp():
            layouts[op.writes] = natural(op.writes)
        case PoolOp() | SoftmaxOp() | ElementwiseOp() | RelayoutOp() | PadOp():
            layouts[op.writes] = layouts[op.source]
        case ConcatOp():
            first, second = (layouts[name] for name in op.sources)
            layouts[op.writes] = Layout(first.segments + second.segments)
        case StoreOp():
            pass
        case _:
            assert_never(op)
    return _resolve_clashes(op, layouts, shapes)


def _resolve_clashes(op: Op, layouts: dict[str, Layout], shapes: dict[str, Shape]) -> list[Op]:
    relayouts: list[Op] = []

    def aligned(steps: Sequence[Step], result: str) -> tuple[Step, ...]:
        changed: list[Step] = []
        for step in steps:
            if step.operand is None or layouts[step.operand].same_as(layouts[result]):
                changed.append(step)
                continue
            name = f"{step.operand}_for_{result}"
            if name not in layouts:
                layouts[name] = layouts[result]
                shapes[name] = shapes[step.operand]
                relayouts.append(RelayoutOp(step.operand, name))
            changed.append(Step(step.node, name))
        return tuple(changed)

    match op:
        case ConvOp():
            branches = tuple(dataclasses.replace(b, epilogue=aligned(b.epilogue, b.writes)) for b in op.branches)
            op = dataclasses.replace(op, branches=branches)
        case FullyConnectedOp() | PoolOp():
            op = dataclasses.replace(op, epilogue=aligned(op.epilogue, op.writes))
        case ElementwiseOp():
            op = dataclasses.replace(op, steps=aligned(op.steps, op.writes))
        case LoadOp() | StoreOp() | SoftmaxOp() | ConcatOp() | RelayoutOp() | PadOp():
            pass
        case _:
            assert_never(op)
    return [*relayouts, op]


def _lifetimes(ops: Sequence[Op]) -> dict[str, tuple[int, int]]:
    """First and last step of every tensor: from the one that writes it to the last that reads it."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, op in enumerate(ops):
        for name in tensors_written(op):
            first[name] = last[name] = number
        for name in tensors_read(op):
            last[name] = number
    return {name: (first[name], last[name]) for name in first}
