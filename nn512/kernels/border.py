"""The border between the caller's tensors and the blocked layout: planes transposed, pixels spread to blocks.

Convolutions that read the caller's order need neither, but zeros beside every row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import Cast, Conditional, Constant, Expression, Less, Name, extent
from nn512.cgen.writer import Writer
from nn512.graph.graph import argument_name
from nn512.ir import LoadOp, StoreOp
from nn512.ir.decision import Decision
from nn512.kernels.deciding import Lanes
from nn512.kernels.edges import CHANNEL_TAIL, PIXEL_TAIL, Edges, tail
from nn512.kernels.interface import Context, Kernel, Place
from nn512.kernels.layer import begin_step, declare_tensor, step_signature, write_segments
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES

_BLOCK = Name("block")

NARROW = 4
"""Channels up to which a block is put together from fours instead of sixteens: the store of zeros is all that costs."""

PLANES, INTERLEAVED = tail("planes, channel tail"), tail("interleaved, channel tail")
FEW_PLANES, FEW_PLANES_PIXELS = Edges("few planes", tuple(range(1, NARROW + 1))), tail("few planes, pixel tail")
ROWS = Edges("rows", ("of planes", "of pixels"))
SINGLE, TABLE = Edges("single pixel"), Edges("table of segments")

TRANSPOSE = """
/* Transpose 16 vectors of 16: v[i][j] becomes v[j][i]. */
static INLINE void transpose16(__m512 v[16]) {
    __m512 t[16];
    UNROLL for (int i = 0; i < 16; i += 2) { /* pairs of rows, interleaved */
        t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) /* 4x4 blocks inside the 128-bit lanes */
        UNROLL for (int j = 0; j < 2; j++) {
            v[i + 2 * j] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            v[i + 2 * j + 1] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    UNROLL for (int j = 0; j < 4; j++) { /* the lanes themselves, even ones and odd ones */
        t[j] = _mm512_shuffle_f32x4(v[j], v[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_f32x4(v[j], v[j + 4], 0xdd);
        t[j + 8] = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0xdd);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        v[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        v[j + 4] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0x88);
        v[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd);
        v[j + 12] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0xdd);
    }
}
"""

LOAD_BLOCK = """
/* Up to 16 channels of `pixels` floats each into one block; lanes without a channel become 0. */
static INLINE void load_block(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float (*out)[16]) {
    for (ptrdiff_t p = 0; p < pixels; p += 16) {
        const ptrdiff_t count = pixels - p < 16 ? pixels - p : 16;
        const __mmask16 mask = (__mmask16)((1u << count) - 1);
        __m512 v[16];
        UNROLL for (int c = 0; c < 16; c++)
            v[c] = c < channels ? _mm512_maskz_loadu_ps(mask, x + c * pixels + p) : _mm512_setzero_ps();
        transpose16(v);
        UNROLL for (int i = 0; i < 16; i++)
            if (i < count) _mm512_storeu_ps(out[p + i], v[i]);
    }
}
"""

LOAD_NARROW = """
/* Up to 4 channels of `pixels` floats each into one block; lanes without a channel become 0. */
static INLINE void load_narrow(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float (*out)[16]) {
    for (ptrdiff_t p = 0; p < pixels; p += 16) {
        const ptrdiff_t count = pixels - p < 16 ? pixels - p : 16;
        const __mmask16 mask = (__mmask16)((1u << count) - 1), four = 0xf;
        __m512 v[4], pair[4];
        UNROLL for (int c = 0; c < 4; c++)
            v[c] = c < channels ? _mm512_maskz_loadu_ps(mask, x + c * pixels + p) : _mm512_setzero_ps();
        UNROLL for (int c = 0; c < 4; c += 2) { /* two channels of pixels 0 and 1 of every four, then of 2 and 3 */
            pair[c] = _mm512_unpacklo_ps(v[c], v[c + 1]);
            pair[c + 1] = _mm512_unpackhi_ps(v[c], v[c + 1]);
        }
        UNROLL for (int i = 0; i < 2; i++) { /* all channels of pixel j of every four */
            v[2 * i] = _mm512_shuffle_ps(pair[i], pair[i + 2], 0x44);
            v[2 * i + 1] = _mm512_shuffle_ps(pair[i], pair[i + 2], 0xee);
        }
        UNROLL for (int j = 0; j < 4; j++) {
            if (j < count) _mm512_storeu_ps(out[p + j], _mm512_maskz_mov_ps(four, v[j]));
            const __m512 second = _mm512_shuffle_f32x4(v[j], v[j], 1), third = _mm512_shuffle_f32x4(v[j], v[j], 2);
            if (j + 4 < count) _mm512_storeu_ps(out[p + 4 + j], _mm512_maskz_mov_ps(four, second));
            if (j + 8 < count) _mm512_storeu_ps(out[p + 8 + j], _mm512_maskz_mov_ps(four, third));
            const __m512 fourth = _mm512_shuffle_f32x4(v[j], v[j], 3);
            if (j + 12 < count) _mm512_storeu_ps(out[p + 12 + j], _mm512_maskz_mov_ps(four, fourth));
        }
    }
}
"""

LOAD_PIXELS = """
/* Up to 16 of the channels of interleaved pixels, `step` floats apart, into one block; other lanes become 0. */
static INLINE void load_pixels(const float *x, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t step,
                               float (*out)[16]) {
    const __mmask16 mask = (__mmask16)((1u << channels) - 1);
    for (ptrdiff_t p = 0; p < pixels; p++) _mm512_storeu_ps(out[p], _mm512_maskz_loadu_ps(mask, x + p * step));
}
"""

STORE_BLOCK = """
/* One block into up to 16 channels of `pixels` floats each. */
static INLINE void store_block(const float (*x)[16], ptrdiff_t pixels, ptrdiff_t channels, float *out) {
    for (ptrdiff_t p = 0; p < pixels; p += 16) {
        const ptrdiff_t count = pixels - p < 16 ? pixels - p : 16;
        const __mmask16 mask = (__mmask16)((1u << count) - 1);
        __m512 v[16];
        UNROLL for (int i = 0; i < 16; i++) v[i] = i < count ? _mm512_loadu_ps(x[p + i]) : _mm512_setzero_ps();
        transpose16(v);
        UNROLL for (int c = 0; c < 16; c++)
            if (c < channels) _mm512_mask_storeu_ps(out + c * pixels + p, mask, v[c]);
    }
}
"""

BLOCK_EXTENT = """
/* How many channels a block holds, and which of them is the first: each segment of channels begins a new block. */
static INLINE ptrdiff_t block_extent(const ptrdiff_t *segments, ptrdiff_t block, ptrdiff_t *start) {
    ptrdiff_t before = 0;
    for (; block >= (*segments + 15) / 16; segments++) {
        block -= (*segments + 15) / 16;
        before += *segments;
    }
    *start = before + block * 16;
    return *segments - block * 16 < 16 ? *segments - block * 16 : 16;
}
"""


class Loading(Decision):
    """How a tensor of the caller is read."""

    ROWS = "rows are copied between zeros: a convolution reads them as they are"
    SPREAD = "channels of interleaved pixels are spread to blocks"
    FOURS = "few planes are put together from fours"
    SIXTEENS = "planes are transposed, sixteen at a time"


class Handing(Decision):
    """How a tensor is handed to the caller."""

    COPIED = "the only pixel is copied"
    SIXTEENS = "blocks are transposed to planes"


def _loading(op: LoadOp) -> Loading:
    if op.columns is not None:
        return Loading.ROWS
    if op.node.interleaved:
        return Loading.SPREAD
    return Loading.FOURS if op.node.channels <= NARROW else Loading.SIXTEENS


def emit_load(op: LoadOp, context: Context) -> LayerCode:
    """Bring an input of the caller into the blocked layout, or put zeros beside its rows."""
    loading = _loading(op)
    context.decided(loading)
    if op.columns is not None:
        return _emit_rows(op, context, op.columns)
    if loading is Loading.SPREAD:
        return _emit_pixels(op, context)
    result = context.places[op.writes]
    narrow = loading is Loading.FOURS
    routine = "load_narrow" if narrow else "load_block"
    if not narrow:
        context.library.add("transpose16", lambda _: TRANSPOSE)
    context.library.add(routine, lambda _: LOAD_NARROW if narrow else LOAD_BLOCK)
    writer = Writer()
    with writer.block(step_signature(context.prefix, f"{op.writes}_load")):
        begin_step(writer, context.prefix)
        declare_tensor(writer, result, written=True, flat=True)
        first, channels = _channels(result)
        with writer.loop("for (ptrdiff_t block = share.first; block < share.last; block++)"):
            pixels = extent(result.shape.height, result.shape.width)
            caller = Name(f"engine->{argument_name(op.node)}") + _planes(first, result)
            writer.statement(routine, [caller, pixels, channels, Name(names.local(op.writes)).at(_BLOCK)], ";")
    classes = {FEW_PLANES(result.shape.channels) if narrow else PLANES(result.shape.channels % LANES)}
    classes.add((FEW_PLANES_PIXELS if narrow else PIXEL_TAIL)(result.shape.pixels % LANES))
    return _layer(f"{op.writes}_load", classes, result, writer, "transposition into blocks of 16 channels")


def _emit_pixels(op: LoadOp, context: Context) -> LayerCode:
    """Spread the channels of every pixel of an input to blocks."""
    result, step = context.places[op.writes], op.node.channels
    context.library.add("load_pixels", lambda _: LOAD_PIXELS)
    writer = Writer()
    with writer.block(step_signature(context.prefix, f"{op.writes}_load")):
        begin_step(writer, context.prefix)
        declare_tensor(writer, result, written=True, flat=True)
        first, channels = _channels(result)
        with writer.loop("for (ptrdiff_t block = share.first; block < share.last; block++)"):
            pixels = extent(result.shape.height, result.shape.width)
            caller = Name(f"engine->{argument_name(op.node)}") + first
            to = Name(names.local(op.writes)).at(_BLOCK)
            writer.statement("load_pixels", [caller, pixels, channels, str(step), to], ";")
    classes = {INTERLEAVED(result.shape.channels % LANES)}
    return _layer(f"{op.writes}_load", classes, result, writer, "interleaved pixels spread to blocks of 16 channels")


def _emit_rows(op: LoadOp, context: Context, columns: tuple[int, int]) -> LayerCode:
    """Copy every row of an input between zeros: of every plane, or of pixels with all their channels."""
    node, result = op.node, context.places[op.writes]
    lanes = result.layout.lanes
    rows = node.height if node.interleaved else node.channels * node.height
    row = Name(names.local(op.writes)).at(Name("row"))
    left, width, right = columns[0] * lanes, node.width * lanes, columns[1] * lanes
    writer = Writer()
    with writer.block(step_signature(context.prefix, f"{op.writes}_load")):
        begin_step(writer, context.prefix)
        pointer = f"float (*restrict {names.local(op.writes)})[{left + width + right}]"
        writer.assign(pointer, f"tensor(engine, {names.offset(op.writes)})")
        with writer.block("for (ptrdiff_t row = share.first; row < share.last; row++)"):
            caller = Name(f"engine->{argument_name(node)}") + Name("row") * width
            if left:
                writer.line(f"memset({row}, 0, {left} * sizeof(float));")
            writer.statement("memcpy", [row + left, caller, f"{width} * sizeof(float)"], ";")
            if right:
                writer.line(f"memset({row + (left + width)}, 0, {right} * sizeof(float));")
    return LayerCode(
        name=f"{op.writes}_load",
        algorithm=f"copy of the {'pixels' if node.interleaved else 'planes'} with zeros beside every row",
        steps=(InferenceStep(f"{op.writes}_load", rows),),
        text=writer.text(),
        edge_classes=(ROWS("of pixels" if node.interleaved else "of planes"),),
    )


def emit_store(op: StoreOp, context: Context) -> LayerCode:
    """Hand a tensor to the caller."""
    source = context.places[op.source]
    handing = Handing.COPIED if source.shape.pixels == 1 else Handing.SIXTEENS
    context.decided(handing)
    context.decided(Lanes.LAST if source.layout.regular else Lanes.TABLE)
    writer = Writer()
    with writer.block(step_signature(context.prefix, f"{op.source}_store")):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        opening = "for (ptrdiff_t block = share.first; block < share.last; block++)"
        with contextlib.ExitStack() as stack:
            if source.layout.regular:
                first, channels = _channels(source)
                stack.enter_context(writer.loop(opening))
            else:
                context.library.add("block_extent", lambda _: BLOCK_EXTENT)
                write_segments(writer, source.layout)
                stack.enter_context(writer.block(opening))
                writer.line("ptrdiff_t c;")
                writer.line("const ptrdiff_t count = block_extent(segments, block, &c);")
                first, channels = Name("c"), Name("count")
            caller = Name(f"engine->{argument_name(op.node)}") + _planes(first, source)
            tensor = Name(names.local(op.source)).at(_BLOCK)
            if handing is Handing.COPIED:
                size = Cast("size_t", channels) * Name("sizeof(float)")
                writer.statement("memcpy", [caller, tensor, size], ";")
            else:
                context.library.add("transpose16", lambda _: TRANSPOSE)
                context.library.add("store_block", lambda _: STORE_BLOCK)
                pixels = extent(source.shape.height, source.shape.width)
                writer.statement("store_block", [tensor, pixels, channels, caller], ";")
    classes = {CHANNEL_TAIL(source.shape.channels % LANES)}
    classes.add(SINGLE() if source.shape.pixels == 1 else PIXEL_TAIL(source.shape.pixels % LANES))
    classes |= set() if source.layout.regular else {TABLE()}
    return _layer(f"{op.source}_store", classes, source, writer, "transposition out of blocks of 16 channels")


def _channels(place: Place) -> tuple[Expression, Expression]:
    """The first channel of `block` and how many channels it holds, of a regular layout."""
    blocks, last = place.layout.block_count, Constant(place.layout.spans[-1].channels)
    if blocks == 1 or last == Constant(LANES):
        return _BLOCK * LANES, last
    return _BLOCK * LANES, Conditional(Less(_BLOCK, Constant(blocks - 1)), Constant(LANES), last)


def _planes(channels: Expression, place: Place) -> Expression:
    """Floats of so many planes of the caller's tensor."""
    return channels * place.shape.height * place.shape.width


def _layer(name: str, edge_classes: Iterable[str], place: Place, writer: Writer, algorithm: str) -> LayerCode:
    return LayerCode(
        name=name,
        algorithm=algorithm,
        steps=(InferenceStep(name, place.layout.block_count),),
        text=writer.text(),
        edge_classes=tuple(sorted(edge_classes)),
    )


LOAD = Kernel(
    "load",
    LoadOp,
    streaming_work,
    emit_load,
    edges=(PLANES, PIXEL_TAIL, FEW_PLANES, FEW_PLANES_PIXELS, INTERLEAVED, ROWS),
    decisions=(*Loading,),
)
STORE = Kernel(
    "store",
    StoreOp,
    streaming_work,
    emit_store,
    edges=(CHANNEL_TAIL, PIXEL_TAIL, SINGLE, TABLE),
    decisions=(*Handing, *Lanes),
)
