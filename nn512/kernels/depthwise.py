"""Depthwise convolution: every channel is a group of its own, with one output or several (see `sliding`).

With one output, channels stay in their lanes and nothing is permuted; each input vector loaded serves all filter
columns that see it. With m outputs per channel, output k reads input k / m: a permutation copies inputs into lanes.
"""

from __future__ import annotations

from nn512.ir import ConvOp
from nn512.kernels.layer import Context, ConvKernel, LayerCode
from nn512.kernels.sliding import SlidingLayer, sliding_applies, sliding_work


def applies(op: ConvOp, context: Context) -> bool:
    """Whether every input channel is a group of its own, and the source's layout is regular."""
    return op.branches[0].node.groups == context.places[op.source].shape.channels and sliding_applies(op, context)


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer."""
    return SlidingLayer(op, context, "depthwise").emit()


KERNEL = ConvKernel("depthwise", applies, sliding_work, emit)
