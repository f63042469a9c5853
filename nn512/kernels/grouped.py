"""Grouped convolution with 2, 4, 8 or a multiple of 16 inputs per group, where groups fall into blocks (see `sliding`).

Small groups: one permutation of the input vector per input of the group, shared by up to `filter_w` multiplications.
"""

from __future__ import annotations

from nn512.kernels.layer import Context, ConvKernel, LayerCode
from nn512.kernels.sliding import SlidingLayer, sliding_applies, sliding_work
from nn512.passes.program import ConvOp
from nn512.plan.cost import Work


def applies(op: ConvOp, context: Context) -> bool:
    """Whether there are several groups of more than one input, in a form the kernel knows."""
    node = op.branches[0].node
    several = 1 < node.groups < context.places[op.source].shape.channels
    return several and sliding_applies(op, context)


def work(op: ConvOp, context: Context) -> Work:
    """What the layer costs."""
    return sliding_work(op, context, efficiency=0.95, single=0.65)


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer."""
    return SlidingLayer(op, context, "grouped").emit()


KERNEL = ConvKernel("grouped", applies, work, emit)
