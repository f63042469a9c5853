"""Layers that gather every block from the one or more blocks of another tensor that hold its channels."""

from __future__ import annotations

from collections.abc import Sequence

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import extent
from nn512.cgen.writer import Writer
from nn512.kernels.interface import Context, Place
from nn512.kernels.layer import begin_step, declare_tensor, step_signature

GATHER = """
/* One block of a tensor that has its channels in other lanes than x. A span is a number of channels that stand together
 * in both, and where the first of them stands in x and in the result, block * 16 + lane. */
static INLINE void gather_block(const float *x, ptrdiff_t pixels, const ptrdiff_t (*spans)[3], ptrdiff_t count,
                                ptrdiff_t block, float (*out)[16]) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const float *from[16] = {x}; /* what makes up the block: at most sixteen pieces of a lane; at least one */
    __m512i index[16] = {lanes};
    __mmask16 mask[16] = {0};
    ptrdiff_t pieces = 0;
    for (ptrdiff_t s = 0; s < count; s++) {
        const ptrdiff_t start = spans[s][2], end = start + spans[s][0], low = block * 16, high = low + 16;
        const ptrdiff_t stop = end < high ? end : high;
        for (ptrdiff_t to = start > low ? start : low, size; to < stop; to += size) {
            const ptrdiff_t source = spans[s][1] + to - start, lane = source % 16;
            size = stop - to < 16 - lane ? stop - to : 16 - lane;
            from[pieces] = x + source / 16 * pixels * 16;
            index[pieces] = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(lane - to % 16)));
            mask[pieces++] = (__mmask16)(((1u << size) - 1) << to % 16);
        }
    }
    for (ptrdiff_t p = 0; p < pixels; p++) {
        __m512 v = _mm512_setzero_ps();
        for (ptrdiff_t i = 0; i < pieces; i++)
            v = _mm512_mask_permutexvar_ps(v, mask[i], index[i], _mm512_loadu_ps(from[i] + p * 16));
        _mm512_storeu_ps(out[p], v);
    }
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
