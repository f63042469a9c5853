"""The C that packs the weights of convolutions by Fourier transforms, as floats or as halves."""

from __future__ import annotations

import math

from nn512.kernels.packing_tiles import HALVES_OR_FLOATS, packing_loops

_COSINES = ",\n    ".join(
    ", ".join(f"{math.cos(2 * math.pi * turn / 64):.17g}" for turn in turns)
    for turns in (range(4), range(4, 8), range(8, 12), range(12, 16))
)

_PLACE = """                    const ptrdiff_t channel = position(p->segments, c / phases);
                    const ptrdiff_t place = (channel / 16 * phases + c % phases) * 16 + channel % 16;
                    const ptrdiff_t parts = is_real(p, t) ? 1 : 2, slot = t - t % parts;
                    const ptrdiff_t panel = ((group * positions + slot) * blocks + start * parts) * size;
                    const ptrdiff_t to = (panel + (place * parts + t % parts) * width + block - start) * 16;
"""

_LOOPS = packing_loops(
    {
        **HALVES_OR_FLOATS,
        "name": "fourier",
        "routine": "fourier",
        "Name": "Fourier",
        "most": "MostNumbers",
        "positions": "p->rowSize * p->columnSize, phases = phases_of(p)",
        "lanes": "16 * phases",
        "inputs": "p->inputs * phases",
        "channel": "c / phases",
        "phase": "c % phases, ",
        "share": "pair_of(p, t)",
        "once": " && c % phases == 0",
        "place": _PLACE,
    }
)

PACK_FOURIER = f"""
/* Weights of a convolution, [output][input][filter row][filter column], to the conjugates of their Fourier transforms,
 * [group][number of a spectrum][panel][input block][phase][input lane][part][output block][output lane]: the product
 * with a conjugate is a correlation. A spectrum has the order in which tiles are transformed; real and imaginary parts
 * of a complex number are packed as one. All factors of the way back are in them. Batch norms of the input and of the
 * result are folded in. Computed in double and rounded once. The halves of an output at a position share a power of
 * two; `scales`, [number][output block][lane], has its inverse. */
enum {{ MostNumbers = 256, MostTaps = 64 }};

typedef struct {{
    const float *weights, *biases;
    void *packed;
    float *packedBiases, *scales;    /* without scales, weights stay floats */
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t filterColumns, groupOutputs;
    ptrdiff_t rowSize, columnSize; /* lengths of the transforms, 1 for none */
    ptrdiff_t rowStep, columnStep; /* every so many taps of the filter are a phase, which counts as an input */
    ptrdiff_t pieces; /* of a filter of one row or column, each of which counts as an input; 0 stands for 1 */
    ptrdiff_t panel;           /* output blocks in a panel; the last panel of a group may have fewer */
    const ptrdiff_t *segments; /* of the input channels */
    const Norm *before, *after;
}} FourierPack;

/* The cosine of so many 64ths of a turn. */
static double cosine(ptrdiff_t turn) {{
    static const double quarter[17] = {{
    {_COSINES}, 0}};
    const ptrdiff_t half = turn & 31, folded = half > 16 ? 32 - half : half;
    return (half > 16) == ((turn & 32) != 0) ? quarter[folded] : -quarter[folded];
}}

static ptrdiff_t phases_of(const FourierPack *p) {{
    return p->rowStep * p->columnStep * (p->pieces ? p->pieces : 1);
}}

/* Whether a number of a spectrum is real: two of a line, four of a tile. */
static int is_real(const FourierPack *p, ptrdiff_t number) {{
    const int isTile = p->rowSize > 1 && p->columnSize > 1;
    return number < 2 || (isTile && number / 2 == p->rowSize / 2);
}}

/* The first of the numbers whose halves share a power of two: those of a complex number do. */
static ptrdiff_t pair_of(const FourierPack *p, ptrdiff_t number) {{
    return is_real(p, number) ? number : number / 2 * 2;
}}

/* The numbers of the spectrum of one phase of a filter, for one output and one input channel. */
static void fourier_factors(const FourierPack *p, const float *weights, ptrdiff_t phase, double scale,
                            double *factors) {{
    const ptrdiff_t columns = p->filterColumns, isTall = p->rowSize > 1;
    ptrdiff_t top = phase / p->columnStep, left = phase % p->columnStep;
    ptrdiff_t bottom = p->taps / columns, right = columns;
    if (p->pieces) {{
        const ptrdiff_t piece = (p->taps + p->pieces - 1) / p->pieces, first = phase * piece;
        const ptrdiff_t last = first + piece < p->taps ? first + piece : p->taps;
        top = isTall ? first : 0, bottom = isTall ? last : 1;
        left = isTall ? 0 : first, right = isTall ? 1 : last;
    }}
    const ptrdiff_t height = p->rowSize, width = p->columnSize;
    for (ptrdiff_t k = 0; k <= width / 2; k++) {{
        double real[MostTaps], imaginary[MostTaps]; /* of the rows, at column k of the spectrum */
        ptrdiff_t taps = 0;
        for (ptrdiff_t r = top; r < bottom; r += p->rowStep, taps++) {{
            real[taps] = imaginary[taps] = 0;
            for (ptrdiff_t c = left, tap = 0; c < right; c += p->columnStep, tap++) {{
                const ptrdiff_t turn = 64 / width * k * tap;
                real[taps] += weights[r * columns + c] * cosine(turn);
                imaginary[taps] += weights[r * columns + c] * cosine(turn - 16);
            }}
        }}
        const int isReal = k == 0 || 2 * k == width;
        double *to = factors + (k == 0 ? 0 : isReal ? height : 2 * height * k);
        for (ptrdiff_t i = 0; i < height && (!isReal || i <= height / 2); i++) {{
            double a = 0, b = 0;
            for (ptrdiff_t tap = 0; tap < taps; tap++) {{
                const ptrdiff_t turn = 64 / height * i * tap;
                a += real[tap] * cosine(turn) - imaginary[tap] * cosine(turn - 16);
                b += real[tap] * cosine(turn - 16) + imaginary[tap] * cosine(turn);
            }}
            const int isAlone = isReal && (i == 0 || 2 * i == height);
            const double factor = scale / (double)(height * width) * (isAlone ? 1 : 2);
            to[isAlone ? i > 0 : 2 * i] = a * factor;
            if (!isAlone) to[2 * i + 1] = b * factor;
        }}
    }}
}}

{_LOOPS}

#define PACK_FOURIER(items, ...) do {{ team_run(&team, pack_fourier, &(FourierPack){{__VA_ARGS__}}, items); }} while (0)
"""
