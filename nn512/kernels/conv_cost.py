"""What a convolution costs: arithmetic with padding lanes included, and bytes of tensors and weights."""

from __future__ import annotations

from nn512.kernels.layer import Context
from nn512.passes.program import ConvOp
from nn512.plan.cost import Work
from nn512.plan.layout import blocks_of


def is_pointwise(op: ConvOp) -> bool:
    """Whether the picture can be seen as one row of pixels."""
    node = op.branches[0].node
    geometry = (node.filter_h, node.filter_w, node.stride_h, node.stride_w, node.padding_h, node.padding_w)
    return geometry == (1, 1, 1, 1, 0, 0)


def padded_macs(op: ConvOp, context: Context) -> float:
    """Multiply-accumulates when blocks of outputs are computed whole, and a block's groups one after another."""
    source, node = context.places[op.source], op.branches[0].node
    inputs = source.shape.channels // node.groups
    per_group = node.to_channels // node.groups
    shared = node.groups > 1 and (inputs % 16 > 0 or per_group % 16 > 0)
    outputs = sum(16 * blocks_of(branch.node.to_channels) for branch in op.branches)
    pixels = context.places[op.branches[0].writes].shape.pixels
    passes = max(1.0, 16 / per_group) if shared else 1.0
    return outputs * pixels * inputs * node.filter_h * node.filter_w * passes


def tensor_bytes(op: ConvOp, context: Context, reads: int = 1) -> float:
    """Bytes of the tensors of a layer, its source counted `reads` times."""
    source = context.places[op.source]
    results = (context.places[branch.writes] for branch in op.branches)
    written = sum(len(p.layout.blocks) * p.shape.pixels for p in results)
    return 64.0 * (reads * len(source.layout.blocks) * source.shape.pixels + written)


def direct_work(op: ConvOp, context: Context, panel_blocks: int) -> Work:
    """What the layer costs: the source is read once for every panel where it does not stay in the level 2 cache."""
    node = op.branches[0].node
    per_group = (context.places[op.source].shape.channels // node.groups, node.to_channels // node.groups)
    masked = node.groups > 1 and any(channels % 16 for channels in per_group)
    weights = 4.0 * padded_macs(op, context) / context.places[op.branches[0].writes].shape.pixels
    panels = sum(-(-blocks_of(b.node.to_channels) // panel_blocks) for b in op.branches)
    once = tensor_bytes(op, context)
    reads = panels if once > context.machine.l2_bytes and node.groups == 1 else 1
    moved = tensor_bytes(op, context, reads) + (2 * tensor_bytes(op, context) if op.prologue else 0)
    return Work(padded_macs(op, context), 0.7 if masked else 0.95, weights, moved)
