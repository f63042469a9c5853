"""What a convolution costs: arithmetic with padding lanes included, bytes of tensors and weights, working memory."""

from __future__ import annotations

from nn512.ir import ConvOp
from nn512.kernels.interface import Setting
from nn512.plan.conv_geometry import axes, real_taps
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import blocks_of
from nn512.plan.workspace import NO_WORKSPACE, Scratch, Workspace


def padded_macs(op: ConvOp, setting: Setting) -> float:
    """Multiply-accumulates: blocks of outputs are whole, a block's groups one after another, padding is left out."""
    source, node = setting.places[op.source], op.branches[0].node
    inputs = source.shape.channels // node.groups
    outputs = sum(16 * blocks_of(branch.node.to_channels) for branch in op.branches)
    result = setting.places[op.branches[0].writes].shape
    taps = 1.0
    for axis in axes(node, source.shape, result, op.zeros):
        taps *= real_taps(axis) / axis.out
    passes = max(1.0, 16 / (node.to_channels // node.groups)) if shares_blocks(op, setting) else 1.0
    return outputs * result.pixels * inputs * taps * passes


def shares_blocks(op: ConvOp, setting: Setting) -> bool:
    """Whether groups are so small that several share a block of 16 channels."""
    node = op.branches[0].node
    inputs = setting.places[op.source].shape.channels // node.groups
    return node.groups > 1 and (inputs % 16 > 0 or node.to_channels // node.groups % 16 > 0)


def weight_bytes(op: ConvOp, setting: Setting) -> float:
    """Bytes of float32 weights, padding lanes of outputs included."""
    node = op.branches[0].node
    inputs = setting.places[op.source].shape.channels // node.groups
    outputs = sum(16 * blocks_of(branch.node.to_channels) for branch in op.branches)
    return 4.0 * outputs * inputs * node.filter_h * node.filter_w


def tensor_bytes(op: ConvOp, setting: Setting) -> float:
    """Bytes of the tensors of a layer; with a stride, a filter of one tap skips most of its source."""
    source, node = setting.places[op.source], op.branches[0].node
    results = (setting.places[branch.writes] for branch in op.branches)
    written = sum(p.layout.block_count * p.shape.pixels for p in results)
    read = source.layout.block_count * source.shape.pixels
    if (node.filter_h, node.filter_w) == (1, 1):
        read //= node.stride_h * node.stride_w
    return 64.0 * (read + written)


def direct_work(op: ConvOp, setting: Setting) -> Work:
    """What the layer costs; a prologue is a pass of its own over the source, to scratch memory, hidden by nothing."""
    source = setting.places[op.source]
    moved = tensor_bytes(op, setting)
    if op.prologue:
        moved += 2 * EXPOSED * 64.0 * source.layout.block_count * source.shape.pixels
    efficiency = 0.45 if shares_blocks(op, setting) else 0.96
    return Work(padded_macs(op, setting), efficiency, weight_bytes(op, setting), moved)


def prepared_source(op: ConvOp, setting: Setting) -> Workspace:
    """Working memory of kernels that do a prologue first: a tensor like the source."""
    if not op.prologue:
        return NO_WORKSPACE
    source = setting.places[op.source]
    return Workspace((Scratch(op.prepared, source.shape, source.layout),))
