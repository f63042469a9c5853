"""Layers that gather every block from the one or more blocks of another tensor that hold its channels."""

from __future__ import annotations

from collections.abc import Sequence

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import extent
from nn512.cgen.writer import Writer
from nn512.kernels.interface import Context, Place
from nn512.kernels.layer import begin_step, declare_tensor, step_signature

JOIN_PIECES = """
/* One block out of pieces, which are blocks of other tensors: lane i of every pixel is lane at[i] % 16 of the piece
 * at[i] / 16, or 0 where at[i] is -1. One or two pieces, the usual case, are a single permutation. */
static INLINE void join_pieces(const float *const *piece, ptrdiff_t pieces, const int *at, ptrdiff_t pixels,
                               float (*out)[16]) {
    const float *first = piece[0], *second = piece[pieces > 1];
    const __m512i index = _mm512_loadu_si512(at); /* permutations read its low bits only */
    __mmask16 mask[16] = {0};
    for (int lane = 0; lane < 16; lane++)
        if (at[lane] >= 0) mask[at[lane] / 16] = (__mmask16)(mask[at[lane] / 16] | 1u << lane);
    const __mmask16 both = (__mmask16)(mask[0] | mask[1]);
    for (ptrdiff_t p = 0; p < pixels; p++) {
        const __m512 a = _mm512_loadu_ps(first + p * 16), b = _mm512_loadu_ps(second + p * 16);
        __m512 v = _mm512_maskz_mov_ps(both, _mm512_permutex2var_ps(a, index, b));
        for (ptrdiff_t i = 2; i < pieces; i++)
            v = _mm512_mask_permutexvar_ps(v, mask[i], index, _mm512_loadu_ps(piece[i] + p * 16));
        _mm512_storeu_ps(out[p], v);
    }
}
"""

GATHER = """
/* One block of a tensor that has its channels in other lanes than x. A span is a number of channels that stand together
 * in both, and where the first of them stands in x and in the result, block * 16 + lane. */
static INLINE void gather_block(const float *x, ptrdiff_t pixels, const ptrdiff_t (*spans)[3], ptrdiff_t count,
                                ptrdiff_t block, float (*out)[16]) {
    const float *piece[16] = {x}; /* what makes up the block: at most sixteen pieces of a lane; at least one */
    int at[16] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    ptrdiff_t pieces = 0;
    for (ptrdiff_t s = 0; s < count; s++) {
        const ptrdiff_t start = spans[s][2], end = start + spans[s][0], low = block * 16, high = low + 16;
        const ptrdiff_t stop = end < high ? end : high;
        for (ptrdiff_t to = start > low ? start : low, size; to < stop; to += size, pieces++) {
            const ptrdiff_t source = spans[s][1] + to - start, lane = source % 16;
            size = stop - to < 16 - lane ? stop - to : 16 - lane;
            piece[pieces] = x + source / 16 * pixels * 16;
            for (ptrdiff_t i = 0; i < size; i++) at[to % 16 + i] = (int)(pieces * 16 + lane + i);
        }
    }
    join_pieces(piece, pieces, at, pixels, out);
}
"""


def gathered(
    context: Context,
    source: Place,
    result: Place,
    spans: Sequence[tuple[int, int, int]],
    *,
    algorithm: str,
    edge_classes: tuple[str, ...],
) -> LayerCode:
    """The layer, by runs of channels that stand together: how many, and the places of the first, there and here."""
    context.library.add("join_pieces", lambda _: JOIN_PIECES)
    context.library.add("gather_block", lambda _: GATHER)
    writer = Writer()
    with writer.block(step_signature(context.prefix, result.name)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.comment("channels that stay together: how many, and where the first one stands here and there")
        writer.table("static const ptrdiff_t spans[][3]", (f"{{{n}, {there}, {here}}}" for n, there, here in spans))
        writer.line("for (ptrdiff_t block = share.first; block < share.last; block++)")
        with writer.indented():
            writer.statement(
                "gather_block",
                [
                    f"{names.local(source.name)}[0][0]",
                    extent(source.shape.height, source.shape.width),
                    "spans",
                    str(len(spans)),
                    "block",
                    f"{names.local(result.name)}[block]",
                ],
                ";",
            )
    return LayerCode(
        name=result.name,
        algorithm=algorithm,
        steps=(InferenceStep(result.name, result.layout.block_count),),
        text=writer.text(),
        edge_classes=edge_classes,
    )
