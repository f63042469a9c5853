"""Depthwise convolution: every channel is a group of its own, with one output or several (see `sliding`).

With one output, channels stay in their lanes and nothing is permuted, whether they stand in order or in segments; each
input vector loaded serves all filter columns that see it. With m outputs per channel, output k reads input k / m: a
permutation copies inputs into lanes.
"""

from __future__ import annotations

from nn512.cgen.code import LayerCode
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels import sliding
from nn512.kernels.conv_cost import prepared_source
from nn512.kernels.deciding import Packing
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED
from nn512.kernels.interface import Context, Kernel, Setting
from nn512.kernels.sliding import EDGES, SEGMENTS, SlidingLayer, sliding_refuses, sliding_work


class Refusing(Decision):
    """Why this kernel does not take a layer that slides. Convolutions of a single channel may be merged."""

    GROUPS = "refused: a group has several inputs"
    MERGED = "refused: there are several convolutions"


def refuses(op: ConvOp, setting: Setting) -> Decision | None:
    """Why this kernel does not take a layer, if so."""
    if op.node.groups != setting.places[op.source].shape.channels:
        return Refusing.GROUPS
    if len(op.branches) > 1:
        return Refusing.MERGED
    return sliding_refuses(op, setting)


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer."""
    return SlidingLayer(op, context, "depthwise").emit()


ALL_EDGES = (*EDGES, OUTPUT_TAIL, SEGMENTS, SHUFFLED)
KERNEL = Kernel(
    "depthwise",
    ConvOp,
    sliding_work,
    emit,
    refuses,
    prepared_source,
    edges=ALL_EDGES,
    decisions=(
        *(*Refusing, sliding.Refusing.TABLE, sliding.Refusing.SEGMENTS, *sliding.DECISIONS),
        *(Packing.SHUFFLED, Packing.BEFORE),
    ),
    writes_pairs=True,
)
