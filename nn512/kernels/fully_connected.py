"""Fully connected layers: a convolution whose filter is as large as the picture, so that one pixel comes out.

Weights are used once, so memory decides: panels are eight blocks wide, which gives eight independent sums and long runs
of consecutive weights.
"""

from __future__ import annotations

from nn512.graph.nodes import Conv
from nn512.kernels import convolution
from nn512.kernels.layer import Context, LayerCode
from nn512.passes.program import ConvBranch, ConvOp, FullyConnectedOp
from nn512.plan.layout import blocks_of

WIDEST_PANEL = 8


def emit(op: FullyConnectedOp, context: Context) -> LayerCode:
    """One layer, emitted as the convolution it is."""
    shape = context.places[op.source].shape
    node = op.node
    conv = Conv(
        node.from_tensor,
        node.to_tensor,
        node.to_channels,
        filter_h=shape.height,
        filter_w=shape.width,
        spans=node.spans,
    )
    blocks = blocks_of(node.to_channels)
    panels = -(-blocks // WIDEST_PANEL)
    branch = ConvBranch(conv, op.folded, op.epilogue, op.writes)
    return convolution.emit(
        ConvOp(op.source, (), (branch,), normalized=op.normalized), context, panel_blocks=-(-blocks // panels)
    )
