"""Depthwise convolution: every channel is a group of its own, with one output or several (see `sliding`).

With one output, channels stay in their lanes and nothing is permuted, whether they stand in order or in segments; each
input vector loaded serves all filter columns that see it. With m outputs per channel, output k reads input k / m: a
permutation copies inputs into lanes.
"""

from __future__ import annotations

from nn512.cgen.code import LayerCode
from nn512.ir import ConvOp
from nn512.kernels.conv_cost import prepared_source
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED
from nn512.kernels.interface import Context, Kernel, Setting
from nn512.kernels.sliding import EDGES, SEGMENTS, SlidingLayer, sliding_applies, sliding_work


def applies(op: ConvOp, setting: Setting) -> bool:
    """Whether every input channel is a group of its own, and stands where the kernel needs it."""
    return op.branches[0].node.groups == setting.places[op.source].shape.channels and sliding_applies(op, setting)


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer."""
    return SlidingLayer(op, context, "depthwise").emit()


ALL_EDGES = (*EDGES, OUTPUT_TAIL, SEGMENTS, SHUFFLED)
KERNEL = Kernel("depthwise", ConvOp, sliding_work, emit, applies, prepared_source, edges=ALL_EDGES, writes_pairs=True)
