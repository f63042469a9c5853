"""Lifetimes of tensors, and their places in the memory of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nn512.graph.nodes import Shape
from nn512.ir import Op, Program
from nn512.plan.arena import Arena, Buffer, place
from nn512.plan.laying import Laid
from nn512.plan.layout import Layout
from nn512.plan.workspace import Workspace


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
    pairs: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """Operations in the order in which they run, and where their tensors are.

    `thread_vectors` is the working memory that each thread has for itself, in vectors of 16 floats: that of the layer
    that needs most.
    """

    program: Program
    ops: tuple[Op, ...]
    tensors: Mapping[str, PlacedTensor]
    arena: Arena
    thread_vectors: int


def place_tensors(laid: Laid, workspaces: Mapping[str, Workspace]) -> Placement:
    """Give every tensor its place. `laid` has the working memory of all `workspaces`, by names of operations."""
    program = laid.program
    lifetimes = _lifetimes(laid.ops, program, workspaces)
    roots = {part: joined.writes for joined in program.joined for part in joined.parts}
    views = {view.writes for view in program.views}
    buffers = [
        Buffer(name, laid.vectors(name), first, last)
        for name, (first, last) in lifetimes.items()
        if name not in roots and name not in views
    ]
    arena = place(buffers)
    offsets = dict(arena.offsets)
    for joined in reversed(program.joined):  # a whole comes after its parts, so backwards from wholes to parts
        offset = offsets[joined.writes]
        for part in joined.parts:
            offsets[part] = offset
            offset += laid.vectors(part)
    for view in program.views:  # a view comes after what it is of
        (source,) = view.sources
        (run,) = view.picks(laid.shapes)
        block, _ = laid.layouts[source].position(run.first)
        offsets[view.writes] = offsets[source] + block * laid.shapes[source].pixels
    tensors = {
        name: PlacedTensor(
            *(name, laid.shapes[name], laid.layouts[name], offsets[name], laid.vectors(name)),
            *(first_step, last_step, name in laid.paired),
        )
        for name, (first_step, last_step) in lifetimes.items()
    }
    most = max((workspace.thread_vectors for workspace in workspaces.values()), default=0)
    return Placement(program, laid.ops, MappingProxyType(tensors), arena, most)


def _lifetimes(ops: Sequence[Op], program: Program, workspaces: Mapping[str, Workspace]) -> dict[str, tuple[int, int]]:
    """First and last step of every tensor; a joined whole lives from its first part on, and its parts as long as it.

    What a view is of lives as long as the view.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, op in enumerate(ops):
        for name in op.tensors_written:
            first[name] = last[name] = number
        for name in op.tensors_read:
            last[name] = number  # of a joined whole, too
        for scratch in workspaces[op.name].shared:
            first[scratch.name] = last[scratch.name] = number
    for view in reversed(program.views):
        (source,) = view.sources
        last[source] = max(last.get(source, 0), last[view.writes])  # of what only views are of, too
    for joined in program.joined:
        lasts = [last[name] for name in (*joined.parts, joined.writes) if name in last]
        first[joined.writes] = min(first[part] for part in joined.parts)
        last[joined.writes] = max(lasts)
    for joined in reversed(program.joined):
        last.update(dict.fromkeys(joined.parts, last[joined.writes]))
    for view in program.views:
        first[view.writes] = first[view.sources[0]]
    return {name: (first[name], last[name]) for name in first}
