"""Layers that gather every block from the one or more blocks of another tensor that hold its channels.

Two blocks of a result often have channels of the same block of the source. Large pictures therefore move in slabs: some
pixels of all blocks, then the next pixels, because a slab is in a cache when its second reader comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import Expression, extent
from nn512.cgen.writer import Writer
from nn512.kernels.edges import Edges
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
 * in both, and where the first of them stands in x and in the result, block * 16 + lane. Blocks of x are `plane` pixels
 * apart; `pixels` of them move, from the first one on. */
static INLINE void gather_block(const float *x, ptrdiff_t plane, const ptrdiff_t (*spans)[3], ptrdiff_t count,
                                ptrdiff_t block, ptrdiff_t first, ptrdiff_t pixels, float (*out)[16]) {
    const float *piece[16] = {x}; /* what makes up the block: at most sixteen pieces of a lane; at least one */
    int at[16] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    ptrdiff_t pieces = 0;
    for (ptrdiff_t s = 0; s < count; s++) {
        const ptrdiff_t start = spans[s][2], end = start + spans[s][0], low = block * 16, high = low + 16;
        const ptrdiff_t stop = end < high ? end : high;
        for (ptrdiff_t to = start > low ? start : low, size; to < stop; to += size, pieces++) {
            const ptrdiff_t source = spans[s][1] + to - start, lane = source % 16;
            size = stop - to < 16 - lane ? stop - to : 16 - lane;
            piece[pieces] = x + (source / 16 * plane + first) * 16;
            for (ptrdiff_t i = 0; i < size; i++) at[to % 16 + i] = (int)(pieces * 16 + lane + i);
        }
    }
    join_pieces(piece, pieces, at, pixels, out + first);
}
"""


SLABS = ("one slab", "equal slabs", "slabs and a smaller one")
GATHERED = Edges("gathered in", SLABS)


@dataclass(frozen=True, slots=True)
class Slabs:
    """The blocks of a result, which move one by one or, where they have many pixels, in slabs."""

    result: Place

    PIXELS = 256
    """Those of a slab: 16 KiB of a block, so that it takes longer to move them than to find out where they stand."""

    @property
    def items(self) -> int:
        """The pieces of work, to be shared by threads."""
        shape = self.result.shape
        return self.result.layout.block_count * -(-shape.pixels // self.PIXELS)

    @property
    def kind(self) -> str:
        """What becomes of the pixels: one of `SLABS`."""
        pixels = self.result.shape.pixels
        return SLABS[0 if pixels <= self.PIXELS else 2 if pixels % self.PIXELS else 1]

    def write(self, writer: Writer, routine: str, arguments: Sequence[Expression | str]) -> None:
        """Write the loop of calls: these arguments, the first pixel, how many pixels, and the block of the result."""
        shape, blocks = self.result.shape, self.result.layout.block_count
        pixels, to = extent(shape.height, shape.width), f"{names.local(self.result.name)}[block]"
        if shape.pixels <= self.PIXELS:
            writer.line("for (ptrdiff_t block = share.first; block < share.last; block++)")
            with writer.indented():
                writer.statement(routine, [*arguments, "0", pixels, to], ";")
            return
        with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
            place = f"const ptrdiff_t block = item % {blocks}, first = item / {blocks} * {self.PIXELS}"
            writer.line(f"{place}, rest = {pixels} - first;")
            count = f"rest < {self.PIXELS} ? rest : {self.PIXELS}"
            writer.statement(routine, [*arguments, "first", count, to], ";")


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
    slabs = Slabs(result)
    writer = Writer()
    with writer.block(step_signature(context.prefix, result.name)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        writer.comment("channels that stay together: how many, and where the first one stands here and there")
        writer.table("static const ptrdiff_t spans[][3]", (f"{{{n}, {there}, {here}}}" for n, there, here in spans))
        origin, plane = f"{names.local(source.name)}[0][0]", extent(source.shape.height, source.shape.width)
        slabs.write(writer, "gather_block", [origin, plane, "spans", str(len(spans)), "block"])
    return LayerCode(
        name=result.name,
        algorithm=algorithm,
        steps=(InferenceStep(result.name, slabs.items),),
        text=writer.text(),
        edge_classes=(*edge_classes, GATHERED(slabs.kind)),
    )
