"""Layers that take a part of a tensor, or its channels in another order: slices and shuffles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import extent
from nn512.cgen.writer import Writer
from nn512.ir import CropOp, Pick, PickOp
from nn512.ir.decision import Decision
from nn512.kernels.copying import copied_blocks
from nn512.kernels.edges import CHANNEL_TAIL, Edges, tail
from nn512.kernels.gathering import GATHERED, JOIN_PIECES, SLABS, Slabs, gathered
from nn512.kernels.interface import Context, Kernel, Place
from nn512.kernels.layer import begin_step, declare_tensor, step_signature
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES, MOST_SEGMENTS, Layout, blocks_of

PICK_LANES = """
/* One block of a tensor whose channels are picked from others. Blocks of all sources are numbered one behind another,
 * those before each source are counted; for every lane there is a block * 16 + lane, or -1 where it stays empty. Blocks
 * are `plane` pixels apart; `pixels` of them move, from the first one on. */
static INLINE void pick_lanes(const float *const *sources, const ptrdiff_t *before, ptrdiff_t plane, const int *lanes,
                              ptrdiff_t first, ptrdiff_t pixels, float (*out)[16]) {
    const float *piece[16]; /* what makes up the block: a piece for every block of a source that has a part of it */
    ptrdiff_t whose[16];
    int at[16];
    ptrdiff_t pieces = 0;
    for (int to = 0; to < 16; to++) {
        at[to] = -1;
        if (lanes[to] < 0) continue;
        const ptrdiff_t block = lanes[to] / 16;
        ptrdiff_t i = 0, source = 0;
        while (i < pieces && whose[i] != block) i++;
        if (i == pieces) {
            while (block >= before[source + 1]) source++;
            whose[i] = block;
            piece[i] = sources[source] + ((block - before[source]) * plane + first) * 16;
            pieces++;
        }
        at[to] = (int)i * 16 + lanes[to] % 16;
    }
    join_pieces(piece, pieces, at, pixels, out + first);
}
"""


class Moving(Decision):
    """How channels are picked."""

    BLOCKS = "whole blocks are copied"
    RUNS = "runs of channels are gathered"
    SOURCES = "channels are picked one by one: they are those of several tensors"
    STEPS = "channels are picked one by one: they are not neighbours"
    MANY = "channels are picked one by one: there are many runs of them"


class Cutting(Decision):
    """How a part of every picture is copied."""

    ROWS = "rows are copied"
    COLUMNS = "parts of rows are copied"
    PIXELS = "pixels are copied one by one: columns are not neighbours"


def _moving(op: PickOp, picks: Sequence[Pick], spans: Sequence[tuple[int, int, int]]) -> Moving:
    if len(set(op.sources)) > 1:
        return Moving.SOURCES
    if any(pick.step > 1 for pick in picks):
        return Moving.STEPS
    if not 0 < len(spans) <= MOST_SEGMENTS:
        return Moving.MANY
    (_, there, here), *others = spans
    return Moving.RUNS if others or here % LANES or there % LANES else Moving.BLOCKS


def emit_pick(op: PickOp, context: Context) -> LayerCode:
    """Block by block: whole ones are copied, those of long runs gathered piece by piece, all others lane by lane."""
    picks = op.picks({name: place.shape for name, place in context.places.items()})
    result = context.places[op.writes]
    spans = tuple(_spans(picks, context.places[op.sources[0]].layout)) if len(set(op.sources)) == 1 else ()
    moving = _moving(op, picks, spans)
    context.decided(moving)
    if moving is Moving.BLOCKS:
        return _copied(op, context, spans[0][1] // LANES)
    if moving is Moving.RUNS:
        return gathered(
            context,
            context.places[op.sources[0]],
            result,
            spans,
            algorithm="channels moved to other lanes",
            edge_classes=(
                CHANNEL_TAIL(result.shape.channels % LANES),
                RUNS(spans[0][1] % LANES),
            ),
        )
    sources = [context.places[name] for name in op.sources]
    before = [0]
    for place in sources:
        before.append(before[-1] + place.layout.block_count)
    context.library.add("join_pieces", lambda _: JOIN_PIECES)
    context.library.add("pick_lanes", lambda _: PICK_LANES)
    slabs = Slabs(result)
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        for name in dict.fromkeys(op.sources):
            declare_tensor(writer, context.places[name], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.comment("for every lane where its channel stands: block * 16 + lane, all sources one behind another")
        writer.table("static const int lanes[][16]", _rows(_places(picks, sources, before)))
        writer.line(f"static const ptrdiff_t before[] = {{{', '.join(map(str, before))}}};")
        writer.table("const float *const sources[]", (f"{names.local(place.name)}[0][0]" for place in sources))
        plane = extent(result.shape.height, result.shape.width)
        slabs.write(writer, "pick_lanes", ["sources", "before", plane, "lanes[block]"])
    return LayerCode(
        name=op.writes,
        algorithm="channels picked lane by lane",
        steps=(InferenceStep(op.writes, slabs.items),),
        text=writer.text(),
        edge_classes=(
            CHANNEL_TAIL(result.shape.channels % LANES),
            SINGLE("one tensor" if len(set(op.sources)) == 1 else "several tensors"),
            PICKED(slabs.kind),
        ),
    )


def _spans(picks: Sequence[Pick], layout: Layout) -> Iterator[tuple[int, int, int]]:
    """Runs of channels that stand together in the source and the result: how many, and the places of the first.

    Nothing, where some do not, or where there would be too many.
    """
    if len(picks) > MOST_SEGMENTS or any(pick.step > 1 for pick in picks):
        return
    here = 0
    for pick in picks:
        first, end = pick.first, pick.first + pick.number
        while first < end:
            segment, place = _segment_of(layout, first)
            count = min(end, segment) - first
            yield count, place, here
            first, here = first + count, here + count


def _segment_of(layout: Layout, channel: int) -> tuple[int, int]:
    """The end of the segment that a channel is in, and its place, block * 16 + lane."""
    first = place = 0
    for channels in layout.merged:
        if channel < first + channels:
            return first + channels, place + channel - first
        first += channels
        place += blocks_of(channels) * LANES
    raise IndexError(channel)


def _places(picks: Sequence[Pick], sources: Sequence[Place], before: Sequence[int]) -> list[int]:
    """The place of every channel, with the blocks before its source."""
    found: list[int] = []
    for source, first, count, step in picks:
        for channel in range(first, first + count * step, step):
            block, lane = sources[source].layout.position(channel)
            found.append((before[source] + block) * LANES + lane)
    return found


def _rows(places: Sequence[int]) -> Iterator[str]:
    for block in range(blocks_of(len(places))):
        lanes = places[block * LANES : (block + 1) * LANES]
        padded = [*lanes, *[-1] * (LANES - len(lanes))]
        yield f"{{{', '.join(map(str, padded))}}}"


def _copied(op: PickOp, context: Context, first: int) -> LayerCode:
    """Whole blocks from one on."""
    source, result = context.places[op.sources[0]], context.places[op.writes]
    edge = BLOCKS(result.shape.channels % LANES)
    return copied_blocks(source, result, context, algorithm="copy of whole blocks", edge=edge, first=first)


def emit_crop(op: CropOp, context: Context) -> LayerCode:
    """Row by row, as they stand where the columns are all neighbours, else pixel by pixel."""
    source, result = context.places[op.source], context.places[op.writes]
    node, to, rows = op.node, names.local(op.writes), result.shape.height
    down = node.axis == "Height"
    cutting = Cutting.ROWS if down else Cutting.COLUMNS if node.step == 1 else Cutting.PIXELS
    context.decided(cutting)
    row = _at(node.first, node.step, "y") if down else "y"
    from_row = f"{names.local(op.source)}[block][{row}]"
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False)
        declare_tensor(writer, result, written=True)
        with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
            writer.line(f"const ptrdiff_t block = item / {rows}, y = item % {rows};")
            if cutting is not Cutting.PIXELS:
                first = "" if down else f"[{node.first}]"
                writer.line(f"memcpy({to}[block][y], {from_row}{first}, sizeof {to}[block][y]);")
            else:
                writer.line(f"for (ptrdiff_t x = 0; x < {result.shape.width}; x++)")
                with writer.indented():
                    column = _at(node.first, node.step, "x")
                    writer.line(f"_mm512_storeu_ps({to}[block][y][x], _mm512_loadu_ps({from_row}[{column}]));")
    every = "every few " if node.step > 1 and node.count > 1 else ""
    return LayerCode(
        name=op.writes,
        algorithm=f"copy of some of the {'rows' if down else 'columns'}",
        steps=(InferenceStep(op.writes, result.layout.block_count * rows),),
        text=writer.text(),
        edge_classes=(OF(f"{every}{'rows' if down else 'columns'}"),),
    )


def _at(first: int, step: int, number: str) -> str:
    """The place of one row or column of a slice."""
    scaled = number if step == 1 else f"{number} * {step}"
    return f"{scaled} + {first}" if first else scaled


BLOCKS, RUNS = tail("whole blocks, channel tail"), tail("runs from lane")
SINGLE, PICKED = Edges("lanes of", ("one tensor", "several tensors")), Edges("picked in", SLABS)
OF = Edges("some", ("rows", "every few rows", "columns", "every few columns"))

PICK = Kernel(
    "pick",
    PickOp,
    streaming_work,
    emit_pick,
    edges=(CHANNEL_TAIL, BLOCKS, RUNS, GATHERED, SINGLE, PICKED),
    decisions=(*Moving,),
)
CROP = Kernel("crop", CropOp, streaming_work, emit_crop, edges=(OF,), decisions=(*Cutting,))
