"""The C that packs parameters when a net is created: shared routines, in double, rounded once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nn512.cgen.code import PackCall, PackedArray, Routine
from nn512.cgen.expressions import Expression, extent
from nn512.graph.nodes import BatchNorm, Conv, FullyConnected, Shuffle
from nn512.kernels.packing_fourier import PACK_FOURIER
from nn512.kernels.packing_full import PACK_FULL
from nn512.kernels.packing_grouped import PACK_GROUPED
from nn512.kernels.packing_halves import HALF_OF, HALVES
from nn512.kernels.packing_pairs import BFLOAT16_OF, PACK_PAIRS
from nn512.kernels.packing_winograd import PACK_WINOGRAD, PACK_WINOGRAD_PAIRS, WINOGRAD_FACTORS
from nn512.plan.layout import LANES, Layout, blocks_of

COMMON = """
/* Parameters of a batch norm. A list of them ends with an empty one; NULL is an empty list. */
typedef struct { const float *means, *variances, *scales, *shifts; double epsilon; } Norm;

#define NORM(name, epsilon) \\
    {params->name##Means, params->name##Variances, params->name##Scales, params->name##Shifts, epsilon}
#define NORMS(...) (const Norm[]){__VA_ARGS__, {0}}
/* For the calls in NetCreate: the arrays of a convolution with k outputs, c inputs per group and t filter taps. Packing
 * routines take a number of work items, and then named arguments. */
#define CONV(name, k, c, t) \\
    .weights = params->name##Weights, .biases = params->name##Biases, .packed = net->name##Weights, \\
    .packedBiases = net->name##Biases, .outputs = k, .inputs = c, .taps = t

/* What all batch norms of a list together do to one channel: value * scale + shift. */
typedef struct { double scale, shift; } Affine;

static Affine compose(const Norm *norms, ptrdiff_t channel) {
    Affine all = {1, 0};
    for (; norms != NULL && norms->means != NULL; norms++) {
        const double variance = (double)norms->variances[channel] + norms->epsilon;
        const double scale = norms->scales[channel] / _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(variance)));
        all.shift = (all.shift - norms->means[channel]) * scale + norms->shifts[channel];
        all.scale *= scale;
    }
    return all;
}
"""

POSITION = """
/* Where a channel stands, block * 16 + lane: each segment of channels begins a new block. NULL is one segment. Before
 * these may be minus the groups of a shuffle that makes the channels of those that stand there, and a group's size. */
static ptrdiff_t position(const ptrdiff_t *segments, ptrdiff_t channel) {
    if (segments == NULL) return channel;
    ptrdiff_t start = 0;
    if (*segments < 0) channel = channel % -segments[0] * segments[1] + channel / -segments[0], segments += 2;
    for (; channel >= *segments; channel -= *segments++) start += (*segments + 15) / 16 * 16;
    return start + channel;
}

#define SEGMENTS(...) (const ptrdiff_t[]){__VA_ARGS__}
"""

PACK_CONV = """
/* Weights of a convolution, [output][input][tap], to [panel][input block][tap][input lane][output block][output lane]:
 * the order in which the tile routines read them. Batch norms of the input and of the result are folded in. */
typedef struct {
    const float *weights, *biases;
    float *packed, *packedBiases;
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t panel;                 /* output blocks in a panel; the last panel may have fewer */
    ptrdiff_t lanes;                 /* input lanes of a block; 0 stands for 16 */
    const ptrdiff_t *segments;       /* of the input channels */
    const Norm *before, *after;      /* batch norms of the input, of the result */
    ptrdiff_t groupOutputs;          /* outputs of one group, if `before` is not NULL */
} ConvPack;

static void pack_conv(const void *context, Share share) {
    const ConvPack *p = context;
    const ptrdiff_t blocks = (p->outputs + 15) / 16;
    const ptrdiff_t lanes = p->lanes ? p->lanes : 16;
    const ptrdiff_t size = (position(p->segments, p->inputs - 1) / lanes + 1) * p->taps * lanes * 16;
    for (ptrdiff_t k = share.first * 16; k < share.last * 16 && k < p->outputs; k++) {
        const ptrdiff_t block = k / 16, start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        float *to = p->packed + start * size + (block - start) * 16 + k % 16;
        const Affine after = compose(p->after, k);
        double bias = p->biases[k];
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const ptrdiff_t source = p->before == NULL ? 0 : k / p->groupOutputs * p->inputs + c;
            const Affine before = compose(p->before, source);
            const ptrdiff_t place = position(p->segments, c), block0 = place / lanes, lane = place % lanes;
            for (ptrdiff_t t = 0; t < p->taps; t++) {
                const double weight = p->weights[(k * p->inputs + c) * p->taps + t];
                to[((block0 * p->taps + t) * lanes + lane) * width * 16] = (float)(after.scale * before.scale * weight);
                bias += before.shift * weight;
            }
        }
        p->packedBiases[k] = (float)(bias * after.scale + after.shift);
    }
}

#define PACK_CONV(items, ...) do { team_run(&team, pack_conv, &(ConvPack){__VA_ARGS__}, items); } while (0)
"""

PACK_NORM = """
/* A batch norm that is computed on its own: for each block a scale for every lane, then a shift for every lane. */
typedef struct {
    const Norm *norms;
    float (*packed)[2][16];
    ptrdiff_t channels;
    const ptrdiff_t *segments;
} NormPack;

static void pack_norm(const void *context, Share share) {
    const NormPack *p = context;
    for (ptrdiff_t c = share.first * p->channels; c < share.last * p->channels; c++) {
        const Affine norm = compose(p->norms, c);
        const ptrdiff_t place = position(p->segments, c), block = place / 16, lane = place % 16;
        p->packed[block][0][lane] = (float)norm.scale;
        p->packed[block][1][lane] = (float)norm.shift;
    }
}

#define LONE_NORM(name, epsilon) \\
    .norms = NORMS({params->name##Means, params->name##Variances, params->name##Scales, params->name##Shifts, \\
                    epsilon}), \\
    .packed = net->name##Norm
#define PACK_NORM(items, ...) do { team_run(&team, pack_norm, &(NormPack){__VA_ARGS__}, items); } while (0)
"""

_COMMON = Routine("compose", COMMON)
_POSITION = Routine("position", POSITION)
_HALVES = Routine("half_exponent", HALVES)
_HALF_OF = Routine("half_of", HALF_OF)
_WINOGRAD_FACTORS = Routine("winograd_factors", WINOGRAD_FACTORS, (_COMMON, _POSITION))
_BFLOAT16_OF = Routine("bfloat16_of", BFLOAT16_OF)
ROUTINES: Mapping[str, Routine] = MappingProxyType(
    {
        routine.name: routine
        for routine in (
            _POSITION,
            Routine("pack_conv", PACK_CONV, (_COMMON, _POSITION)),
            Routine("pack_norm", PACK_NORM, (_COMMON, _POSITION)),
            Routine("pack_full", PACK_FULL, (_COMMON, _POSITION, _HALVES)),
            Routine("pack_grouped", PACK_GROUPED, (_COMMON, _POSITION)),
            Routine("pack_winograd", PACK_WINOGRAD, (_COMMON, _POSITION, _HALVES, _HALF_OF, _WINOGRAD_FACTORS)),
            Routine("pack_winograd_pairs", PACK_WINOGRAD_PAIRS, (_COMMON, _POSITION, _BFLOAT16_OF, _WINOGRAD_FACTORS)),
            Routine("pack_pairs", PACK_PAIRS, (_COMMON, _POSITION, _BFLOAT16_OF)),
            Routine("pack_fourier", PACK_FOURIER, (_COMMON, _POSITION, _HALVES, _HALF_OF)),
        )
    }
)
"""Packing routines and what they need, by name."""


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """The packed weights of one convolution.

    `layout` is that of the input channels of one group, `panel` the output blocks that are computed together. Where
    groups share output blocks (`shared`), every lane holds the weight of its own output's group. What is read may stand
    in the order before a shuffle, `shuffled`.
    """

    node: Conv
    inputs: int
    layout: Layout
    panel: int
    shared: bool
    shuffled: Shuffle | None
    normalized: tuple[BatchNorm, ...]
    folded: tuple[BatchNorm, ...]

    @property
    def lanes(self) -> int:
        """Input lanes of a block."""
        return min(LANES, self.inputs) if self.shared else self.layout.lanes

    @property
    def blocks(self) -> int:
        """Output blocks."""
        return blocks_of(self.node.to_channels)

    @property
    def block_floats(self) -> int:
        """Weights of one output block, padding lanes included."""
        return math.prod(self._block_extents)

    @property
    def block_extent(self) -> Expression:
        """The same as it is written in C: input blocks * filter rows * filter columns * input lanes * output lanes."""
        return extent(*self._block_extents)

    @property
    def extent(self) -> Expression:
        """All weights, likewise."""
        return extent(self.blocks, *self._block_extents)

    @property
    def _block_extents(self) -> tuple[int, ...]:
        return (self.layout.block_count, self.node.filter_h, self.node.filter_w, self.lanes, LANES)

    @property
    def name(self) -> str:
        """The name before `Weights` and `Biases`."""
        return self.node.to_tensor

    def fields(self) -> tuple[PackedArray, ...]:
        """Arrays in the packed net."""
        return (
            PackedArray(f"{self.name}Biases", f"[{self.blocks * LANES}]", self.blocks * LANES),
            PackedArray(f"{self.name}Weights", f"[{self.extent}]", self.blocks * self.block_floats),
        )

    def pack(self) -> PackCall:
        """The call that packs them."""
        node = self.node
        arguments = [
            conv_arguments(node, self.inputs, (node.filter_h, node.filter_w)),
            f".panel = {self.panel}",
            *([f".lanes = {self.lanes}"] if self.lanes != LANES else []),
            *segments_of(self.layout, self.shuffled),
        ]
        if self.normalized:
            arguments.append(f".groupOutputs = {node.to_channels // node.groups}")
            arguments.append(f".before = {norms_of(self.normalized)}")
        if self.folded:
            arguments.append(f".after = {norms_of(self.folded)}")
        return PackCall(ROUTINES["pack_conv"], tuple(arguments), self.blocks)


def conv_arguments(node: Conv | FullyConnected, inputs: int, taps: tuple[int, int]) -> str:
    """What calls that pack a convolution pass: arrays, outputs, inputs of one group, filter taps (rows, columns)."""
    return f"CONV({node.to_tensor}, {node.to_channels}, {inputs}, {extent(*taps)})"


def norm_field(node: BatchNorm) -> str:
    """Name of the array of a batch norm that is computed on its own."""
    return f"{node.to_tensor}Norm"


def norm_array(node: BatchNorm, layout: Layout) -> PackedArray:
    """The array itself: scales and shifts, [block][2][lane]."""
    blocks = layout.block_count
    return PackedArray(norm_field(node), f"[{blocks}][2][{LANES}]", blocks * 2 * LANES)


def pack_norm(node: BatchNorm, layout: Layout) -> PackCall:
    """The call that packs a batch norm that is computed on its own."""
    arguments = (
        f"LONE_NORM({node.to_tensor}, {node.epsilon!r})",
        f".channels = {layout.channels}",
        *segments_of(layout),
    )
    return PackCall(ROUTINES["pack_norm"], arguments, 1)


def segments_of(layout: Layout, shuffled: Shuffle | None = None) -> tuple[str, ...]:
    """The initializer of `segments` for channels in a layout, or in the order before a shuffle in it.

    A regular layout without a shuffle needs none.
    """
    if layout.regular and shuffled is None:
        return ()
    groups = () if shuffled is None else (-shuffled.groups, layout.channels // shuffled.groups)
    return (f".segments = SEGMENTS({', '.join(map(str, (*groups, *layout.segments)))})",)


def norms_of(nodes: Sequence[BatchNorm]) -> str:
    """Batch norms as a C array of Norm, closed by an empty one."""
    listed = ", ".join(f"NORM({node.to_tensor}, {node.epsilon!r})" for node in nodes)
    return f"NORMS({listed})"
