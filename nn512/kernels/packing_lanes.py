"""The packing of parameters that have one value per channel: to the lanes in which these stand."""

from __future__ import annotations

from nn512.cgen.code import PackCall, PackedArray
from nn512.kernels.packing import ROUTINES, segments_of
from nn512.plan.layout import LANES, Layout


def lanes_array(parameter: str, layout: Layout) -> PackedArray:
    """The packed array of a parameter, [block][lane]; it has the parameter's name."""
    return PackedArray(parameter, f"[{layout.block_count}][{LANES}]", layout.block_count * LANES)


def pack_lanes(parameter: str, layout: Layout) -> PackCall:
    """The call that packs it."""
    arguments = (f"LANES({parameter})", f".channels = {layout.channels}", *segments_of(layout))
    return PackCall(ROUTINES["pack_lanes"], arguments, 1)
