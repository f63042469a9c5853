"""Grouped convolution with 2, 4 or 8 inputs per group and a multiple of that of outputs (see `sliding`).

One permutation of the input vector per input of the group, shared by up to `filter_w` multiplications. Groups of whole
blocks are the direct kernel's business, and so is everything that does not line up.
"""

from __future__ import annotations

from nn512.cgen.code import LayerCode
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels import sliding
from nn512.kernels.conv_cost import prepared_source
from nn512.kernels.deciding import Packing
from nn512.kernels.edges import OUTPUT_TAIL, Edges
from nn512.kernels.interface import Context, Kernel, Setting
from nn512.kernels.sliding import EDGES, FAR, GROUP_INPUTS, SlidingLayer, sliding_refuses, sliding_work


class Refusing(Decision):
    """Why this kernel does not take a layer that slides."""

    WHOLE = "refused: there is one group"
    DEPTHWISE = "refused: a group has one input"


def refuses(op: ConvOp, setting: Setting) -> Decision | None:
    """Why this kernel does not take a layer, if so."""
    if op.node.groups == 1:
        return Refusing.WHOLE
    if op.node.groups == setting.places[op.source].shape.channels:
        return Refusing.DEPTHWISE
    return sliding_refuses(op, setting)


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer."""
    return SlidingLayer(op, context, "grouped").emit()


EVEN_TAIL = Edges(OUTPUT_TAIL.name, OUTPUT_TAIL.values[::2])
"""Outputs of a group are a multiple of its inputs, of which there are two or more."""

ALL_EDGES = (*EDGES, FAR, GROUP_INPUTS, EVEN_TAIL)
KERNEL = Kernel(
    "grouped",
    ConvOp,
    sliding_work,
    emit,
    refuses,
    prepared_source,
    edges=ALL_EDGES,
    decisions=(*Refusing, *sliding.Refusing, *sliding.DECISIONS, Packing.BEFORE),
    writes_pairs=True,
)
