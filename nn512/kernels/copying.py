"""Layers that only move data: concatenation by copying, a change of layout, a copy with zeros around it."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.kernels.layer import Context, LayerCode, Part, begin_step, declare_tensor, step_signature
from nn512.passes.program import ConcatOp, CopyOp, PadOp, RelayoutOp


def emit_concat(op: ConcatOp, context: Context) -> LayerCode:
    """Copy the blocks of both halves, one after another: a half keeps its lanes, so whole planes move."""
    result = context.places[op.writes]
    halves = [context.places[name] for name in op.sources]
    boundary = len(halves[0].layout.blocks)
    plane = f"sizeof {names.local(op.writes)}[0]"
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        for name in dict.fromkeys(op.sources):
            declare_tensor(writer, context.places[name], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        with writer.block("for (ptrdiff_t block = first; block < last; block++)"):
            to = f"{names.local(op.writes)}[block]"
            first, second = (names.local(name) for name in op.sources)
            writer.line(f"if (block < {boundary})")
            with writer.indented():
                writer.line(f"memcpy({to}, {first}[block], {plane});")
            writer.line("else")
            with writer.indented():
                writer.line(f"memcpy({to}, {second}[block - {boundary}], {plane});")
    return LayerCode(
        name=op.writes,
        kernel="concat",
        algorithm="copy of both halves",
        steps=(Part(op.writes, len(result.layout.blocks)),),
        code=writer.text(),
        edge_classes=tuple(sorted({f"concat half tail {half.shape.channels % 16}" for half in halves})),
    )


def emit_copy(op: CopyOp, context: Context) -> LayerCode:
    """Copy a tensor to its second place, block by block."""
    source, result = context.places[op.source], context.places[op.writes]
    to = f"{names.local(op.writes)}[block]"
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.line("for (ptrdiff_t block = first; block < last; block++)")
        with writer.indented():
            writer.line(f"memcpy({to}, {names.local(op.source)}[block], sizeof {to});")
    return LayerCode(
        name=op.writes,
        kernel="copy",
        algorithm="copy to a second place",
        steps=(Part(op.writes, len(result.layout.blocks)),),
        code=writer.text(),
        edge_classes=(f"copy channel tail {source.shape.channels % 16}",),
    )


def emit_relayout(op: RelayoutOp, context: Context) -> LayerCode:
    """Gather the lanes of every block from the one or more blocks of the other layout that hold its channels."""
    source, result = context.places[op.source], context.places[op.writes]
    pieces: list[tuple[int, int, int, int]] = []
    starts = [0]
    for block in result.layout.blocks:
        lane = 0
        while lane < block.channels:
            from_block, from_lane = source.layout.position(block.first + lane)
            available = source.layout.blocks[from_block].channels - from_lane
            count = min(block.channels - lane, available)
            pieces.append((from_block, from_lane, lane, count))
            lane += count
        starts.append(len(pieces))
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.comment("pieces[starts[block]] to pieces[starts[block + 1] - 1] make up a block")
        writer.table("static const int starts[]", map(str, starts))
        rows = ("{" + ", ".join(map(str, piece)) + "}" for piece in pieces)
        writer.table("static const struct { int block, fromLane, toLane, count; } pieces[]", rows)
        with writer.block("for (ptrdiff_t block = first; block < last; block++)"):
            writer.line("const float *from[16]; /* where lane 0 would come from, were it part of the piece */")
            writer.line("__mmask16 mask[16];")
            writer.line("const int count = starts[block + 1] - starts[block];")
            with writer.block("for (int i = 0; i < count; i++)"):
                writer.line("const int piece = starts[block] + i;")
                lane = "pieces[piece].fromLane - pieces[piece].toLane"
                writer.line(f"from[i] = {names.local(source.name)}[pieces[piece].block][0] + ({lane});")
                writer.line("mask[i] = (__mmask16)(((1u << pieces[piece].count) - 1) << pieces[piece].toLane);")
            with writer.block(f"for (ptrdiff_t p = 0; p < {result.shape.pixels}; p++)"):
                writer.line("__m512 v = _mm512_maskz_loadu_ps(mask[0], from[0] + p * 16);")
                writer.line("for (int i = 1; i < count; i++)")
                with writer.indented():
                    writer.line("v = _mm512_mask_loadu_ps(v, mask[i], from[i] + p * 16);")
                writer.line(f"_mm512_storeu_ps({names.local(result.name)}[block][p], v);")
    return LayerCode(
        name=op.writes,
        kernel="relayout",
        algorithm="lanes moved from one layout to another",
        steps=(Part(op.writes, len(result.layout.blocks)),),
        code=writer.text(),
        edge_classes=(f"relayout {len(source.layout.segments)} to {len(result.layout.segments)} segments",),
    )


def emit_pad(op: PadOp, context: Context) -> LayerCode:
    """Copy every row to the middle of a wider one, between rows of zeros."""
    source, result = context.places[op.source], context.places[op.writes]
    rows = result.shape.height
    to, row = names.local(op.writes), f"{names.local(op.source)}[block][y - {op.rows}]"
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False)
        declare_tensor(writer, result, written=True)
        with writer.block("for (ptrdiff_t item = first; item < last; item++)"):
            writer.line(f"const ptrdiff_t block = item / {rows}, y = item % {rows};")
            writer.line(f"memset({to}[block][y], 0, sizeof {to}[block][y]);")
            writer.line(f"if (y >= {op.rows} && y < {op.rows + source.shape.height})")
            with writer.indented():
                writer.line(f"memcpy({to}[block][y][{op.columns}], {row}, sizeof {row});")
    return LayerCode(
        name=op.writes,
        kernel="pad",
        algorithm="copy with zeros around it",
        steps=(Part(op.writes, len(result.layout.blocks) * rows),),
        code=writer.text(),
        edge_classes=(f"pad channel tail {source.shape.channels % 16}",),
    )
