"""The C that packs the weights of Winograd convolutions, as floats or as halves, or as pairs of bfloat16."""

from __future__ import annotations

from nn512.kernels.packing_tiles import HALVES_OR_FLOATS, PAIRS, packing_loops

_WORDS = {
    "name": "winograd",
    "Name": "Winograd",
    "most": "MostPositions",
    "positions": "p->rowProducts * p->columnProducts",
    "inputs": "p->inputs",
    "channel": "c",
    "phase": "",
    "share": "t",
    "once": "",
}

_PLACE = """                    const ptrdiff_t panel = ((group * positions + t) * blocks + start) * size;
                    const ptrdiff_t to = (panel + position(p->segments, c) * width + block - start) * 16;
"""

_PLACE_OF_PAIR = """                    const ptrdiff_t place = position(p->segments, c), half = place % 2;
                    const ptrdiff_t panel = ((group * positions + t) * blocks + start) * size;
                    const ptrdiff_t to = (panel + place / 2 * width + block - start) * 16;
"""

_LOOPS = packing_loops(
    {**HALVES_OR_FLOATS, **_WORDS, "routine": "winograd", "lanes": "16", "place": _PLACE},
)

_LOOPS_OF_PAIRS = packing_loops(
    {**PAIRS, **_WORDS, "routine": "winograd_pairs", "lanes": "8", "place": _PLACE_OF_PAIR},
)

WINOGRAD_FACTORS = """
/* Weights of a convolution, [output][input][filter row][filter column], to the factors of Winograd's products, [group]
 * [position][panel][input][output block][output lane]: W w W', with a matrix W for each axis, computed in double and
 * rounded once. Batch norms of the input and of the result are folded in. */
enum { MostPositions = 64 };

typedef struct {
    const float *weights, *biases;
    void *packed;
    float *packedBiases, *scales;    /* scales are those of halves */
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t filterColumns, groupOutputs;
    ptrdiff_t rowProducts, columnProducts; /* rows and columns of a tile's positions */
    const double *rowFactors, *columnFactors; /* W for columns of the filter and for rows of it, [product][tap] */
    ptrdiff_t panel;           /* output blocks in a panel; the last panel of a group may have fewer */
    const ptrdiff_t *segments; /* of the input channels */
    const Norm *before, *after;
} WinogradPack;

/* The factors for one output and one input channel, by position. */
static void winograd_factors(const WinogradPack *p, const float *weights, double scale, double *factors) {
    const ptrdiff_t rows = p->taps / p->filterColumns, columns = p->filterColumns;
    for (ptrdiff_t i = 0; i < p->rowProducts; i++)
        for (ptrdiff_t j = 0; j < p->columnProducts; j++) {
            double sum = 0;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t c = 0; c < columns; c++)
                    sum += p->rowFactors[i * rows + r] * weights[r * columns + c] * p->columnFactors[j * columns + c];
            factors[i * p->columnProducts + j] = scale * sum;
        }
}
"""

PACK_WINOGRAD = f"""
/* These factors as floats, or as halves where there are scales. The halves of an output at a position share a power of
 * two; `scales`, [position][output block][lane], has its inverse. */
{_LOOPS}

#define PACK_WINOGRAD(items, ...) \\
    do {{ team_run(&team, pack_winograd, &(WinogradPack){{__VA_ARGS__}}, items); }} while (0)
"""

PACK_WINOGRAD_PAIRS = f"""
/* These factors as pairs of bfloat16, one where others have a float: places 2i and 2i+1 of the input's channels are
 * pair i, the even one in the lower half. */
{_LOOPS_OF_PAIRS}

#define PACK_WINOGRAD_PAIRS(items, ...) \\
    do {{ team_run(&team, pack_winograd_pairs, &(WinogradPack){{__VA_ARGS__}}, items); }} while (0)
"""
