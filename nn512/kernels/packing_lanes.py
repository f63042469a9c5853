"""The packing of parameters that have one value per channel: to the lanes in which these stand."""

from __future__ import annotations

from nn512.cgen.code import PackCall, PackedArray, Routine
from nn512.kernels.packing import ROUTINES, segments_of
from nn512.plan.layout import LANES, Layout

PACK_LANES = """
/* A parameter of one value per channel: a value for every lane of every block. */
typedef struct {
    const float *values;
    float (*packed)[16];
    ptrdiff_t channels;
    const ptrdiff_t *segments;
} LanePack;

static void pack_lanes(const void *context, Share share) {
    const LanePack *p = context;
    for (ptrdiff_t c = share.first * p->channels; c < share.last * p->channels; c++) {
        const ptrdiff_t place = position(p->segments, c);
        p->packed[place / 16][place % 16] = p->values[c];
    }
}

#define LANES(name) .values = params->name, .packed = net->name
#define PACK_LANES(items, ...) do { team_run(&team, pack_lanes, &(LanePack){__VA_ARGS__}, items); } while (0)
"""

_ROUTINE = Routine("pack_lanes", PACK_LANES, (ROUTINES["position"],))


def lanes_array(parameter: str, layout: Layout) -> PackedArray:
    """The packed array of a parameter, [block][lane]; it has the parameter's name."""
    return PackedArray(parameter, f"[{layout.block_count}][{LANES}]", layout.block_count * LANES)


def pack_lanes(parameter: str, layout: Layout) -> PackCall:
    """The call that packs it."""
    arguments = (f"LANES({parameter})", f".channels = {layout.channels}", *segments_of(layout))
    return PackCall(_ROUTINE, arguments, 1)
