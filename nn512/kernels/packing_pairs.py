"""The C that packs weights as pairs of bfloat16."""

from __future__ import annotations

BFLOAT16_OF = """
/* The upper half of the float that is nearest of those whose lower half is 0, ties to even: a bfloat16. The double is
 * rounded once. What is smaller than a normal float is a zero, as it is to the processor's products. */
static uint16_t bfloat16_of(double x) {
    uint64_t bits;
    uint32_t word;
    if (x != x) return 0x7fc0;
    if (x > -0x1p-126 && x < 0x1p-126) x *= 0;
    memcpy(&bits, &x, sizeof bits);
    bits += (((uint64_t)1 << 44) - 1) + (bits >> 45 & 1); /* 7 of 52 bits of the fraction are left */
    bits &= ~(((uint64_t)1 << 45) - 1);
    memcpy(&x, &bits, sizeof x);
    const float nearest = (float)x;
    memcpy(&word, &nearest, sizeof word);
    return (uint16_t)(word >> 16);
}
"""

PACK_PAIRS = """
/* Weights of a convolution, [output][input][tap], to [panel][block of 16 pairs][tap][pair][output block][output lane]
 * as pairs of bfloat16, one where others have a float: places 2i and 2i+1 of the input's channels are pair i, the even
 * one in the lower half. The last block may have fewer pairs. Taps that are several columns stand behind each pair:
 * [row][pair][column] instead of [tap][pair]. Batch norms of the result are folded in before they are rounded; biases
 * stay floats. Where inputs are the columns of filters, those of one row pair up, each row a run of them. */
typedef struct {
    const float *weights, *biases;
    float *packed, *packedBiases;
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t pairs;           /* of these, perhaps rounded up to whole blocks of 16 */
    ptrdiff_t columns;         /* taps that stand behind each pair */
    ptrdiff_t panel;           /* output blocks in a panel; the last panel may have fewer */
    ptrdiff_t run;             /* if not 0, inputs that pair up: the last of an odd number is an upper half alone */
    const ptrdiff_t *segments; /* of the input channels */
    const Norm *after;         /* batch norms of the result */
} PairPack;

static ptrdiff_t place_of(const PairPack *p, ptrdiff_t input) {
    if (!p->run) return position(p->segments, input);
    const ptrdiff_t odd = p->run % 2, place = input % p->run;
    return input / p->run * (p->run + odd) + place + (odd && place == p->run - 1);
}

static void pack_pairs(const void *context, Share share) {
    const PairPack *p = context;
    const ptrdiff_t blocks = (p->outputs + 15) / 16, size = p->pairs * p->taps * 16;
    for (ptrdiff_t k = share.first * 16; k < share.last * 16 && k < p->outputs; k++) {
        const ptrdiff_t block = k / 16, start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        float *to = p->packed + start * size + (block - start) * 16 + k % 16;
        const Affine after = compose(p->after, k);
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const ptrdiff_t place = place_of(p, c), pair = place / 2, first = pair / 16 * 16;
            const ptrdiff_t count = p->pairs - first < 16 ? p->pairs - first : 16;
            for (ptrdiff_t t = 0; t < p->taps; t++) {
                const double weight = p->weights[(k * p->inputs + c) * p->taps + t];
                const uint16_t rounded = bfloat16_of(after.scale * weight);
                const ptrdiff_t row = t / p->columns * count + pair - first;
                float *both = to + (first * p->taps + row * p->columns + t % p->columns) * width * 16;
                memcpy((char *)both + place % 2 * 2, &rounded, sizeof rounded);
            }
        }
        p->packedBiases[k] = (float)(p->biases[k] * after.scale + after.shift);
    }
}

#define PACK_PAIRS(items, ...) do { team_run(&team, pack_pairs, &(PairPack){__VA_ARGS__}, items); } while (0)
"""
