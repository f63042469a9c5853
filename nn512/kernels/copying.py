"""Layers that only move data: concatenation by copying, a change of layout, a copy with zeros around it."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.kernels.layer import Context, LayerCode, Part, begin_step, declare_tensor, step_signature
from nn512.kernels.tiles import Unrolled
from nn512.passes.program import ConcatOp, CopyOp, PadOp, RelayoutOp
from nn512.plan.layout import Block, Layout


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


def _pieces(block: Block, source: Layout) -> list[tuple[int, int, int, int]]:
    """What makes up a block: block and first lane there, first lane here, number of lanes."""
    pieces: list[tuple[int, int, int, int]] = []
    lane = 0
    while lane < block.channels:
        from_block, from_lane = source.position(block.first + lane)
        count = min(block.channels - lane, source.blocks[from_block].channels - from_lane)
        pieces.append((from_block, from_lane, lane, count))
        lane += count
    return pieces


def emit_relayout(op: RelayoutOp, context: Context) -> LayerCode:
    """Gather the lanes of every block from the one or more blocks of the other layout that hold its channels."""
    source, result = context.places[op.source], context.places[op.writes]
    pieces = [_pieces(block, source.layout) for block in result.layout.blocks]
    most = max(map(len, pieces))
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.comment("where the lanes of each block come from; entries that are left out have count 0")
        rows = ("{" + ", ".join(f"{{{', '.join(map(str, piece))}}}" for piece in block) + "}" for block in pieces)
        writer.table(f"static const struct {{ int block, fromLane, toLane, count; }} pieces[][{most}]", rows)
        writer.line("const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);")
        with writer.block("for (ptrdiff_t block = first; block < last; block++)"):
            writer.line(f"const float *from[{most}];")
            writer.line(f"__m512i index[{most}];")
            writer.line(f"__mmask16 mask[{most}];")
            loop = Unrolled("i", 0, most)
            i, piece = loop.index, Name("pieces").at(Name("block"), loop.index)
            start, index, mask = (Name(name).at(i) for name in ("from", "index", "mask"))
            lines = [
                f"const int shift = {piece}.fromLane - {piece}.toLane;",
                f"{start} = {Name(names.local(source.name)).at(Name(f'{piece}.block'), 0)};",
                f"{index} = _mm512_add_epi32(lanes, _mm512_set1_epi32(shift));",
                f"{mask} = (__mmask16)(((1u << {piece}.count) - 1) << {piece}.toLane);",
            ]
            writer.nest(loop.openings, lines)
            with writer.block(f"for (ptrdiff_t p = 0; p < {result.shape.pixels}; p++)"):
                writer.line("__m512 v = _mm512_setzero_ps();")
                pixel = f"_mm512_loadu_ps({start + Name('p') * 16})"
                writer.nest(loop.openings, [f"v = _mm512_mask_permutexvar_ps(v, {mask}, {index}, {pixel});"])
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
