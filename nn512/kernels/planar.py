"""Direct convolution on the planes of a caller's tensor, for pictures with few channels.

The caller's tensor is channels x height x width. The tile routines are those of the direct kernel, but neighbouring
pixels are neighbouring floats, and every channel is a block of its own: no lanes are empty, nothing is transposed. Rows
of padding are skipped as the direct kernel does it; columns of padding are zeros in a copy of the planes (see
`plan.planes`), which takes little time and spares tiles at the edges routines of their own.
"""

from __future__ import annotations

from nn512.kernels.conv_cost import weight_bytes
from nn512.kernels.convolution import ConvLayer
from nn512.kernels.layer import Context, ConvKernel, LayerCode
from nn512.passes.program import ConvOp
from nn512.plan.conv_geometry import axes, real_taps
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import blocks_of


def _applies(op: ConvOp, context: Context) -> bool:
    return op.branches[0].writes in context.planes


def _work(op: ConvOp, context: Context) -> Work:
    """Arithmetic on rows of padding is left out; a copy of the planes is a pass of its own, hidden by nothing."""
    node = op.branches[0].node
    source, result = (context.graph.shapes[name] for name in (node.from_tensor, op.branches[0].node.to_tensor))
    rows, columns = axes(node, source, result)
    outputs = 16 * sum(blocks_of(branch.node.to_channels) for branch in op.branches)
    macs = outputs * source.channels * real_taps(rows) * columns.out * columns.taps
    moved = 4.0 * (source.channels * source.pixels + outputs * result.pixels)
    if node.padding_w:
        copied = source.channels * source.height * (source.width + 2 * node.padding_w)
        moved += EXPOSED * 4.0 * (source.channels * source.pixels + copied)
    return Work(macs, 0.98, weight_bytes(op, context), moved)


def _emit(op: ConvOp, context: Context) -> LayerCode:
    return _PlanarLayer(op, context).emit()


KERNEL = ConvKernel("planar", _applies, _work, _emit, planes=True)


class _PlanarLayer(ConvLayer):
    """A layer whose source has blocks of one channel."""

    kernel = "planar"
