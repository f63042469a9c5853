"""The C that packs the weights of Winograd convolutions, as floats or as halves."""

from __future__ import annotations

from nn512.kernels.packing_tiles import packing_loops

_PLACE = """                    const ptrdiff_t panel = ((group * positions + t) * blocks + start) * size;
                    const ptrdiff_t to = (panel + position(p->segments, c) * width + block - start) * 16;
"""

_LOOPS = packing_loops(
    {
        "name": "winograd",
        "Name": "Winograd",
        "most": "MostPositions",
        "positions": "p->rowProducts * p->columnProducts",
        "lanes": "16",
        "inputs": "p->inputs",
        "channel": "c",
        "phase": "",
        "share": "t",
        "once": "",
        "place": _PLACE,
    }
)

PACK_WINOGRAD = f"""
/* Weights of a convolution, [output][input][filter row][filter column], to the factors of Winograd's products, [group]
 * [position][panel][input][output block][output lane]: W w W', with a matrix W for each axis, computed in double and
 * rounded once. Batch norms of the input and of the result are folded in. The halves of an output at a position share a
 * power of two; `scales`, [position][output block][lane], has its inverse. */
enum {{ MostPositions = 64 }};

typedef struct {{
    const float *weights, *biases;
    void *packed;
    float *packedBiases, *scales;    /* without scales, weights stay floats */
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t filterColumns, groupOutputs;
    ptrdiff_t rowProducts, columnProducts; /* rows and columns of a tile's positions */
    const double *rowFactors, *columnFactors; /* W for columns of the filter and for rows of it, [product][tap] */
    ptrdiff_t panel;           /* output blocks in a panel; the last panel of a group may have fewer */
    const ptrdiff_t *segments; /* of the input channels */
    const Norm *before, *after;
}} WinogradPack;

/* The factors for one output and one input channel, by position. */
static void winograd_factors(const WinogradPack *p, const float *weights, double scale, double *factors) {{
    const ptrdiff_t rows = p->taps / p->filterColumns, columns = p->filterColumns;
    for (ptrdiff_t i = 0; i < p->rowProducts; i++)
        for (ptrdiff_t j = 0; j < p->columnProducts; j++) {{
            double sum = 0;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t c = 0; c < columns; c++)
                    sum += p->rowFactors[i * rows + r] * weights[r * columns + c] * p->columnFactors[j * columns + c];
            factors[i * p->columnProducts + j] = scale * sum;
        }}
}}

{_LOOPS}

#define PACK_WINOGRAD(items, ...) \\
    do {{ team_run(&team, pack_winograd, &(WinogradPack){{__VA_ARGS__}}, items); }} while (0)
"""
