"""The C that packs the weights of Winograd convolutions, as floats or as halves."""

PACK_WINOGRAD = """
/* Weights of a convolution, [output][input][filter row][filter column], to the factors of Winograd's products, [group]
 * [position][panel][input][output block][output lane]: W w W', with a matrix W for each axis, computed in double and
 * rounded once. Batch norms of the input and of the result are folded in. The halves of an output at a position share a
 * power of two; `scales`, [position][output block][lane], has its inverse. */
enum { MostPositions = 64 };

typedef struct {
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

static void pack_winograd(const void *context, Share share) {
    const WinogradPack *p = context;
    const ptrdiff_t positions = p->rowProducts * p->columnProducts;
    const ptrdiff_t allBlocks = (p->outputs + 15) / 16, blocks = (p->groupOutputs + 15) / 16; /* of one group */
    const ptrdiff_t size = (position(p->segments, p->inputs - 1) / 16 + 1) * 16;
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t group = item / blocks, block = item % blocks, start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        const ptrdiff_t first = group * p->groupOutputs + block * 16, rest = p->groupOutputs - block * 16;
        const ptrdiff_t lanes = rest < 16 ? rest : 16;
        double factors[MostPositions], biases[16];
        float packed[MostPositions][16] = {{0}};
        float *scales = p->scales ? p->scales + item * 16 : NULL; /* at position 0 */
        Affine after[16];
        for (ptrdiff_t o = 0; o < lanes; o++) {
            after[o] = compose(p->after, first + o);
            biases[o] = p->biases[first + o];
            Range ranges[MostPositions] = {{0, 0}};
            for (ptrdiff_t c = 0; c < p->inputs && scales; c++) {
                const Affine before = compose(p->before, group * p->inputs + c);
                const float *weights = p->weights + ((first + o) * p->inputs + c) * p->taps;
                winograd_factors(p, weights, after[o].scale * before.scale, factors);
                for (ptrdiff_t t = 0; t < positions; t++) widen_range(&ranges[t], factors[t]);
            }
            for (ptrdiff_t t = 0; t < positions; t++) {
                if (scales) scales[t * allBlocks * 16 + o] = (float)power_of_two(-half_exponent(ranges[t]));
            }
        }
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const Affine before = compose(p->before, group * p->inputs + c);
            for (ptrdiff_t o = 0; o < lanes; o++) {
                const float *weights = p->weights + ((first + o) * p->inputs + c) * p->taps;
                winograd_factors(p, weights, after[o].scale * before.scale, factors);
                for (ptrdiff_t t = 0; t < positions; t++)
                    packed[t][o] = (float)(scales ? factors[t] / scales[t * allBlocks * 16 + o] : factors[t]);
                for (ptrdiff_t t = 0; t < p->taps; t++) biases[o] += before.shift * weights[t];
            }
            for (ptrdiff_t t = 0; t < positions; t++) {
                const ptrdiff_t panel = ((group * positions + t) * blocks + start) * size;
                const ptrdiff_t to = (panel + position(p->segments, c) * width + block - start) * 16;
                const __m512 v = _mm512_loadu_ps(packed[t]);
                if (scales)
                    _mm256_storeu_si256((__m256i *)((uint16_t *)p->packed + to), _mm512_cvtps_ph(v, 0));
                else
                    _mm512_storeu_ps((float *)p->packed + to, v);
            }
        }
        for (ptrdiff_t o = 0; o < lanes; o++)
            p->packedBiases[first + o] = (float)(biases[o] * after[o].scale + after[o].shift);
    }
}

#define PACK_WINOGRAD(items, ...) do { team_run(&team, pack_winograd, &(WinogradPack){__VA_ARGS__}, items); } while (0)
"""
