"""Convolutions that read a tensor of the caller as it is, in planes of a channel each or in pixels of all channels.

That saves the transposition to blocks of 16 channels, of which a picture of three would use three lanes. Where columns
are padded, the convolution reads a copy of the rows with zeros at both ends of each: then its tiles are alike. Some
make such a copy themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from nn512.graph.nodes import Input
from nn512.graph.windows import Sides, padding_of
from nn512.ir import ConvOp, LoadOp, Op, Program
from nn512.plan.layout import LANES, Layout


def given_layout(node: Input) -> Layout:
    """The layout of a tensor of the caller: a plane for each channel, or the channels of every pixel together."""
    return Layout((node.channels,), lanes=node.channels if node.interleaved else 1)


def planes_readers(program: Program) -> Mapping[str, frozenset[str]]:
    """Convolutions that could read planes, by their first result, and all those with which each would save a load.

    There are none where the load is needed anyway, and none of pixels that fill blocks.
    """
    sources = given_to(program)
    needed = _needed_in_blocks(program, sources)
    sharing: dict[str, set[str]] = {node.to_tensor: set() for node in sources.values()}
    for name, node in sources.items():
        sharing[node.to_tensor].add(name)
    together = {source: frozenset() if source in needed else frozenset(names) for source, names in sharing.items()}
    return {name: together[node.to_tensor] for name, node in sources.items()}


def given_to(program: Program) -> Mapping[str, Input]:
    """What the caller has for convolutions that could read it as it is, by their first result."""
    loads = (op for op in program.ops if isinstance(op, LoadOp) and given_layout(op.node).lanes < LANES)
    loaded = {op.writes: op.node for op in loads}
    return {
        op.branches[0].writes: loaded[op.source]
        for op in program.ops
        if isinstance(op, ConvOp) and op.source in loaded and not op.prologue and op.branches[0].node.groups == 1
    }


def read_planes(program: Program, chosen: Collection[str], padding: Collection[str] = ()) -> tuple[Op, ...]:
    """The operations of a program in which the `chosen` convolutions read planes, without the loads nobody needs.

    Those that are `padding` rows themselves need no copy with zeros.
    """
    inputs = {op.writes: op.node for op in program.ops if isinstance(op, LoadOp)}
    needed = _needed_in_blocks(program, chosen)
    copied: set[str] = set()
    ops: list[Op] = []
    for op in program.ops:
        if isinstance(op, LoadOp) and op.writes not in needed:
            continue
        if not (isinstance(op, ConvOp) and op.branches[0].writes in chosen):
            ops.append(op)
            continue
        left, right = columns = padding_of(op.branches[0].node)[2:]
        if not any(columns) or op.branches[0].writes in padding:
            ops.append(dataclasses.replace(op, source=f"{op.source}_data", caller=inputs[op.source]))
            continue
        copy = f"{op.source}_padded{left}" if left == right else f"{op.source}_padded{left}and{right}"
        if copy not in copied:
            ops.append(LoadOp(inputs[op.source], copy, columns))
            copied.add(copy)
        ops.append(dataclasses.replace(op, source=copy, zeros=Sides(left=left, right=right)))
    return tuple(ops)


def _needed_in_blocks(program: Program, readers: Collection[str]) -> set[str]:
    """Tensors that somebody else reads, or the `readers` as operands of steps; those in a whole or under a view."""
    needed = {part for joined in program.joined for part in joined.parts}
    needed.update(source for view in program.views for source in view.sources)
    for op in program.ops:
        if isinstance(op, ConvOp) and op.branches[0].writes in readers:
            op = dataclasses.replace(op, source="")  # noqa: PLW2901 - the operation without its source
        needed.update(op.tensors_read)
    return needed
