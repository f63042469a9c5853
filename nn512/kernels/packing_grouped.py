"""The C that packs the weights of grouped and depthwise convolutions."""

PACK_GROUPED = """
/* Weights of a grouped convolution, [output][input of the group][row][column], to [output block][row][input][column]
 * [output lane]. Batch norms of the input and of the result are folded in. */
typedef struct {
    const float *weights, *biases;
    float *packed, *packedBiases;
    ptrdiff_t outputs, inputs, taps, columns; /* inputs of one group; columns of the filter */
    const ptrdiff_t *segments;                /* of the outputs */
    const Norm *before, *after;
    ptrdiff_t groupOutputs; /* if `before` is not NULL */
} GroupedPack;

static void pack_grouped(const void *context, Share share) {
    const GroupedPack *p = context;
    for (ptrdiff_t k = share.first * 16; k < share.last * 16 && k < p->outputs; k++) {
        const ptrdiff_t place = position(p->segments, k);
        float *to = p->packed + place / 16 * p->inputs * p->taps * 16 + place % 16;
        const Affine after = compose(p->after, k);
        double bias = p->biases[k];
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const ptrdiff_t source = p->before == NULL ? 0 : k / p->groupOutputs * p->inputs + c;
            const Affine before = compose(p->before, source);
            for (ptrdiff_t t = 0; t < p->taps; t++) {
                const double weight = p->weights[(k * p->inputs + c) * p->taps + t];
                const ptrdiff_t row = t / p->columns * p->inputs + c;
                to[(row * p->columns + t % p->columns) * 16] = (float)(after.scale * before.scale * weight);
                bias += before.shift * weight;
            }
        }
        p->packedBiases[place] = (float)(bias * after.scale + after.shift);
    }
}

#define PACK_GROUPED(items, ...) do { team_run(&team, pack_grouped, &(GroupedPack){__VA_ARGS__}, items); } while (0)
"""
