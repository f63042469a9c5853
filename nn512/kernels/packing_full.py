"""The C that packs the weights of fully connected layers, as floats or as halves."""

PACK_FULL = """
/* Weights of a fully connected layer, [output][input channel][pixel], to [panel][input][output block][output lane] with
 * the inputs as they stand in memory: [input block][pixel][input lane], lanes that hold channels only. Batch norms of
 * the input and of the result are folded in. The halves of an output share a power of two; `scales` has its inverse. */
typedef struct {
    const float *weights, *biases;
    void *packed;
    float *packedBiases, *scales; /* without scales, weights stay floats */
    ptrdiff_t outputs, channels, pixels;
    ptrdiff_t panel;           /* output blocks in a panel; the last panel may have fewer */
    const ptrdiff_t *segments, *unshuffled; /* of the channels as they stand; where these are in the input */
    const Norm *before, *after;
} FullPack;

static void pack_full(const void *context, Share share) {
    const FullPack *p = context;
    const ptrdiff_t blocks = (p->outputs + 15) / 16, inputs = p->channels * p->pixels;
    for (ptrdiff_t block = share.first; block < share.last; block++) {
        const ptrdiff_t start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        const ptrdiff_t lanes = p->outputs - block * 16 < 16 ? p->outputs - block * 16 : 16;
        const float *weights = p->weights + block * 16 * inputs;
        Affine after[16];
        double scales[16], biases[16];
        for (ptrdiff_t o = 0; o < lanes; o++) {
            after[o] = compose(p->after, block * 16 + o);
            scales[o] = after[o].scale;
            biases[o] = p->biases[block * 16 + o];
            if (p->scales == NULL) continue;
            Range range = {0};
            for (ptrdiff_t i = 0; i < inputs; i++) widen_range(&range, scales[o] * weights[o * inputs + i]);
            const int exponent = half_exponent(range);
            scales[o] *= power_of_two(exponent);
            p->scales[block * 16 + o] = (float)power_of_two(-exponent);
        }
        for (ptrdiff_t begin = 0, count; begin < p->channels; begin += count) { /* channels of an input block */
            for (count = 1; begin + count < p->channels && position(p->segments, begin + count) % 16; count++) continue;
            for (ptrdiff_t c = 0; c < count; c++) {
                const ptrdiff_t channel = position(p->unshuffled, begin + c);
                const Affine before = compose(p->before, channel);
                for (ptrdiff_t t = 0; t < p->pixels; t++) {
                    const ptrdiff_t input = begin * p->pixels + t * count + c;
                    const ptrdiff_t to = (start * inputs + input * width + block - start) * 16;
                    float packed[16] = {0};
                    for (ptrdiff_t o = 0; o < lanes; o++) {
                        const double weight = weights[o * inputs + channel * p->pixels + t];
                        packed[o] = (float)(scales[o] * before.scale * weight);
                        biases[o] += before.shift * weight;
                    }
                    const __m512 v = _mm512_loadu_ps(packed);
                    if (p->scales)
                        _mm256_storeu_si256((__m256i *)((uint16_t *)p->packed + to), _mm512_cvtps_ph(v, 0));
                    else
                        _mm512_storeu_ps((float *)p->packed + to, v);
                }
            }
        }
        for (ptrdiff_t o = 0; o < lanes; o++)
            p->packedBiases[block * 16 + o] = (float)(biases[o] * after[o].scale + after[o].shift);
    }
}

#define PACK_FULL(items, ...) do { team_run(&team, pack_full, &(FullPack){__VA_ARGS__}, items); } while (0)
"""
