"""The loops that pack transformed weights of convolutions, in whatever format, whatever the transform is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_LOOPS = """static void pack_@routine@(const void *context, Share share) {
    const @Name@Pack *p = context;
    const ptrdiff_t positions = @positions@;
    const ptrdiff_t @all@blocks = (p->groupOutputs + 15) / 16; /* of one group */
    const ptrdiff_t size = (position(p->segments, p->inputs - 1) / 16 + 1) * @lanes@;
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t group = item / blocks, block = item % blocks, start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        const ptrdiff_t first = group * p->groupOutputs + block * 16, rest = p->groupOutputs - block * 16;
        const ptrdiff_t lanes = rest < 16 ? rest : 16;
        double factors[@most@], biases[16];
@scales@        Affine after[16];
        for (ptrdiff_t o = 0; o < lanes; o++) {
            after[o] = compose(p->after, first + o);
            biases[o] = p->biases[first + o];
@ranges@        }
        for (ptrdiff_t c = 0; c < @inputs@; c++) {
            const Affine before = compose(p->before, group * p->inputs + @channel@);
            for (ptrdiff_t o = 0; o < lanes; o++) {
                const float *weights = p->weights + ((first + o) * p->inputs + @channel@) * p->taps;
                @name@_factors(p, weights, @phase@after[o].scale * before.scale, factors);
                for (ptrdiff_t t = 0; t < p->taps@once@; t++) biases[o] += before.shift * weights[t];
                for (ptrdiff_t t = 0; t < positions; t++) {
@place@@store@                }
            }
        }
        for (ptrdiff_t o = 0; o < lanes; o++)
            p->packedBiases[first + o] = (float)(biases[o] * after[o].scale + after[o].shift);
    }
}


"""


HALVES_OR_FLOATS: Mapping[str, str] = MappingProxyType(
    {
        "all": "allBlocks = (p->outputs + 15) / 16, ",
        "scales": """        float *scales = p->scales ? p->scales + item * 16 : NULL; /* at position 0 */
""",
        "ranges": """            Range ranges[@most@] = {{0, 0}};
            for (ptrdiff_t c = 0; c < @inputs@ && scales; c++) {
                const Affine before = compose(p->before, group * p->inputs + @channel@);
                const float *weights = p->weights + ((first + o) * p->inputs + @channel@) * p->taps;
                @name@_factors(p, weights, @phase@after[o].scale * before.scale, factors);
                for (ptrdiff_t t = 0; t < positions; t++) widen_range(&ranges[@share@], factors[t]);
            }
            for (ptrdiff_t t = 0; t < positions; t++) {
                if (scales) scales[t * allBlocks * 16 + o] = (float)power_of_two(-half_exponent(ranges[@share@]));
            }
""",
        "store": """                    const ptrdiff_t at = to + o;
                    if (scales)
                        ((uint16_t *)p->packed)[at] = half_of((float)(factors[t] / scales[t * allBlocks * 16 + o]));
                    else
                        ((float *)p->packed)[at] = (float)factors[t];
""",
    }
)
"""The words for the format in which weights are packed: halves where there are scales for these, floats elsewhere."""

PAIRS: Mapping[str, str] = MappingProxyType(
    {
        "all": "",
        "scales": "",
        "ranges": "",
        "store": """                    ((uint16_t *)p->packed)[(to + o) * 2 + half] = bfloat16_of(factors[t]);
""",
    }
)
"""The same for pairs of bfloat16, one of which takes the place of a float."""


def packing_loops(words: Mapping[str, str]) -> str:
    """The routine for one algorithm, by what stands for the words between @."""
    text = _LOOPS
    for word, meaning in words.items():
        text = text.replace(f"@{word}@", meaning)
    return text.strip()
