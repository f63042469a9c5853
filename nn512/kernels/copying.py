"""Layers that only move data: concatenation by copying, a change of layout, a copy with zeros around it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.graph.axes import AXES, extent_of
from nn512.graph.windows import Sides
from nn512.ir import ConcatOp, CopyOp, PadOp, RelayoutOp
from nn512.ir.decision import Decision
from nn512.kernels.edges import CHANNEL_TAIL, Edges, tail
from nn512.kernels.gathering import GATHERED, gathered
from nn512.kernels.interface import Context, Kernel, Place
from nn512.kernels.layer import begin_step, declare_tensor, step_signature
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES, Layout, blocks_of


class Joining(Decision):
    """What moves as a whole."""

    BLOCKS = "blocks of all parts, one after another"
    PICTURES = "rows of all parts that stand together in memory"
    ROWS = "a row of each part after another"


def emit_concat(op: ConcatOp, context: Context) -> LayerCode:
    """Copy the parts of every block, or the blocks of every part: a part keeps its lanes."""
    context.decided(dict(zip(AXES, Joining, strict=True))[op.node.axis])
    return _concat_of_channels(op, context) if op.node.axis == AXES[0] else _concat_of_pictures(op, context)


def _concat_of_channels(op: ConcatOp, context: Context) -> LayerCode:
    """The blocks of all parts, one after another: whole planes move."""
    result = context.places[op.writes]
    parts = [context.places[name] for name in op.sources]
    plane = f"sizeof {names.local(op.writes)}[0]"
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        for name in dict.fromkeys(op.sources):
            declare_tensor(writer, context.places[name], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        with writer.block("for (ptrdiff_t block = share.first; block < share.last; block++)"):
            first = 0
            for number, part in enumerate(parts):
                last, end = number == len(parts) - 1, first + part.layout.block_count
                writer.line(("else " if number else "") + ("" if last else f"if (block < {end})").rstrip() or "else")
                with writer.indented():
                    block = f"block - {first}" if first else "block"
                    writer.line(f"memcpy({names.local(op.writes)}[block], {names.local(part.name)}[{block}], {plane});")
                first = end
    return LayerCode(
        name=op.writes,
        algorithm="copy of both halves" if len(parts) == 2 else "copy of all parts",
        steps=(InferenceStep(op.writes, result.layout.block_count),),
        text=writer.text(),
        edge_classes=tuple(sorted({PART_TAIL(part.shape.channels % LANES) for part in parts})),
    )


def _concat_of_pictures(op: ConcatOp, context: Context) -> LayerCode:
    """The rows of all parts one below another, or side by side."""
    result, below = context.places[op.writes], op.node.axis == "Height"
    to = names.local(op.writes)
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        for name in dict.fromkeys(op.sources):
            declare_tensor(writer, context.places[name], written=False)
        declare_tensor(writer, result, written=True)
        each = ["for (ptrdiff_t block = share.first; block < share.last; block++)"]
        if not below:
            each.append(f"for (ptrdiff_t y = 0; y < {result.shape.height}; y++)")
        copies, place = [], 0
        for name in op.sources:
            source = f"{names.local(name)}[block]" + ("" if below else "[y]")
            there = f"{to}[block][{place}]" if below else f"{to}[block][y][{place}]"
            copies.append(f"memcpy({there}, {source}, sizeof {source});")
            place += extent_of(context.places[name].shape, op.node.axis)
        writer.nest(each, copies)
    return LayerCode(
        name=op.writes,
        algorithm=f"copy of the {'rows' if below else 'columns'} of all parts",
        steps=(InferenceStep(op.writes, result.layout.block_count),),
        text=writer.text(),
        edge_classes=(ALONG(op.node.axis.lower()),),
    )


def emit_copy(op: CopyOp, context: Context) -> LayerCode:
    """Copy a tensor to its second place, block by block."""
    source, result = context.places[op.source], context.places[op.writes]
    edge = CHANNEL_TAIL(source.shape.channels % LANES)
    return copied_blocks(source, result, context, algorithm="copy to a second place", edge=edge)


def copied_blocks(
    source: Place, result: Place, context: Context, *, algorithm: str, edge: str, first: int = 0
) -> LayerCode:
    """The blocks of a source from `first` on, as many as the result has."""
    to, number = names.local(result.name), f"block + {first}" if first else "block"
    writer = Writer()
    with writer.block(step_signature(context.prefix, result.name)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.line("for (ptrdiff_t block = share.first; block < share.last; block++)")
        with writer.indented():
            writer.line(f"memcpy({to}[block], {names.local(source.name)}[{number}], sizeof {to}[block]);")
    return LayerCode(
        name=result.name,
        algorithm=algorithm,
        steps=(InferenceStep(result.name, result.layout.block_count),),
        text=writer.text(),
        edge_classes=(edge,),
    )


class _Segment(NamedTuple):
    """Channels first to end-1, and the place of the first of them: block * 16 + lane."""

    first: int
    end: int
    place: int


def _segments(layout: Layout) -> Iterator[_Segment]:
    first = place = 0
    for channels in layout.merged:
        yield _Segment(first, first + channels, place)
        first += channels
        place += blocks_of(channels) * LANES


def moved_spans(source: Layout, result: Layout) -> Iterator[tuple[int, int, int]]:
    """Runs of channels that stand together in two layouts: how many, and the places of the first of them."""
    from_here, to_here = _segments(source), _segments(result)
    there, here = next(from_here), next(to_here)
    first, channels = 0, source.channels
    while first < channels:
        end = min(there.end, here.end)
        yield end - first, there.place + first - there.first, here.place + first - here.first
        first = end
        there = next(from_here, there) if end == there.end else there
        here = next(to_here, here) if end == here.end else here


def emit_relayout(op: RelayoutOp, context: Context) -> LayerCode:
    """Gather the lanes of every block from the one or more blocks of the other layout that hold its channels."""
    source, result = context.places[op.source], context.places[op.writes]
    return gathered(
        context,
        source,
        result,
        tuple(moved_spans(source.layout, result.layout)),
        algorithm="lanes moved from one layout to another",
        edge_classes=(
            CHANNEL_TAIL(source.shape.channels % LANES),
            FROM("one" if len(source.layout.segments) == 1 else "several"),
            TO("one" if len(result.layout.segments) == 1 else "several"),
            *((CROWDED(),) if op.crowded else ()),
        ),
    )


def emit_pad(op: PadOp, context: Context) -> LayerCode:
    """Copy every row to the middle of a wider one, between rows of zeros."""
    source, result = context.places[op.source], context.places[op.writes]
    rows, (top, _, left, _) = result.shape.height, op.sides
    to, row = names.local(op.writes), Name(names.local(op.source)).at(Name("block"), Name("y") - top)
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False)
        declare_tensor(writer, result, written=True)
        with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
            writer.line(f"const ptrdiff_t block = item / {rows}, y = item % {rows};")
            writer.line(f"memset({to}[block][y], 0, sizeof {to}[block][y]);")
            inside = [f"y >= {top}"] if top else []
            if top + source.shape.height < rows:
                inside.append(f"y < {top + source.shape.height}")
            if inside:
                writer.line(f"if ({' && '.join(inside)})")
            with writer.indented() if inside else contextlib.nullcontext():
                writer.line(f"memcpy({to}[block][y][{left}], {row}, sizeof {row});")
    return LayerCode(
        name=op.writes,
        algorithm="copy with zeros around it",
        steps=(InferenceStep(op.writes, result.layout.block_count * rows),),
        text=writer.text(),
        edge_classes=tuple(sorted({CHANNEL_TAIL(source.shape.channels % LANES), *_zeros(op.sides)})),
    )


def _zeros(sides: Sides) -> Iterator[str]:
    """Sides on which there are zeros."""
    return (ZEROS(side) for side, count in zip(sides._fields, sides, strict=True) if count)


PART_TAIL, ALONG = tail("part tail"), Edges("along", ("height", "width"))
FROM, TO = (Edges(f"segments {where}", ("one", "several")) for where in ("before", "after"))
CROWDED = Edges("crowded")
ZEROS = Edges("zeros", Sides._fields)

CONCAT = Kernel("concat", ConcatOp, streaming_work, emit_concat, edges=(PART_TAIL, ALONG), decisions=(*Joining,))
COPY = Kernel("copy", CopyOp, streaming_work, emit_copy, edges=(CHANNEL_TAIL,))
RELAYOUT_EDGES = (CHANNEL_TAIL, FROM, TO, CROWDED, GATHERED)
RELAYOUT = Kernel("relayout", RelayoutOp, streaming_work, emit_relayout, edges=RELAYOUT_EDGES)
PAD = Kernel("pad", PadOp, streaming_work, emit_pad, edges=(CHANNEL_TAIL, ZEROS))
