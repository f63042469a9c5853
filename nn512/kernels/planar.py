"""Direct convolution on a caller's tensor in the caller's order, for pictures of few channels.

The tile routines are those of the direct kernel, except that channels follow each other one by one, and neighbouring
pixels are neighbouring floats or, of an interleaved picture, as many floats apart as it has channels: nothing is
transposed, and no lanes are empty. Both take the same instructions. Rows of padding are skipped as there. Columns of
padding are zeros in a copy of the rows (see `plan.planes`): on a picture of 3x224x224 under a 7x7 filter that takes 70
us more than tiles at the edges with routines of their own would, of 2,100, and spares 100 lines of C.
"""

from __future__ import annotations

from nn512.cgen.code import LayerCode
from nn512.graph.windows import padding_of
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.conv_blocking import INPUTS, INSIDE, MERGED, PANEL, ROWS, SHARES, TILE
from nn512.kernels.conv_cost import weight_bytes
from nn512.kernels.conv_deciding import BLOCKED, PADDED, SHARED, Bordering, Fetching
from nn512.kernels.conv_tile import Channels
from nn512.kernels.convolution import ConvLayer
from nn512.kernels.deciding import Packing, Pairing
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED, Edges
from nn512.kernels.interface import Context, Kernel, Setting
from nn512.plan.conv_geometry import axes, real_taps
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import blocks_of

MOST_CHANNELS = 16
"""Up to here it was never measured to be slower than the direct kernel and the load before it, where prices say so."""


class Refusing(Decision):
    """Why this kernel, or that of pairs, does not take a layer."""

    OTHERS = "refused: what it reads is no tensor of the caller, or not as such"
    CHANNELS = "refused: the picture has many channels"


def refuses(op: ConvOp, setting: Setting) -> Refusing | None:
    """Why the planes of a layer's source cannot be read, if so."""
    if op.branches[0].writes not in setting.planes:
        return Refusing.OTHERS
    return Refusing.CHANNELS if setting.graph.shapes[op.node.from_tensor].channels > MOST_CHANNELS else None


def _work(op: ConvOp, setting: Setting) -> Work:
    """Arithmetic on rows of padding is left out; a copy of the planes is a pass of its own, hidden by nothing."""
    node = op.branches[0].node
    source, result = setting.graph.shapes[node.from_tensor], setting.places[op.branches[0].writes].shape
    rows, columns = axes(node, source, result)
    outputs = 16 * sum(blocks_of(branch.node.to_channels) for branch in op.branches)
    macs = outputs * source.channels * real_taps(rows) * columns.out * columns.taps
    moved = 4.0 * (source.channels * source.pixels + outputs * result.pixels)
    padded = source.width + padding_of(node).columns
    if padded > source.width:
        copied = source.channels * source.height * padded
        moved += EXPOSED * 4.0 * (source.channels * source.pixels + copied)
    return Work(macs, 0.96, weight_bytes(op, setting), moved)


def _emit(op: ConvOp, context: Context) -> LayerCode:
    return _PlanarLayer(op, context).emit()


SOURCE = Edges("source", ("given planes", "given interleaved pixels", "copied planes", "copied interleaved pixels"))

KERNEL = Kernel(
    "planar",
    ConvOp,
    _work,
    _emit,
    refuses,
    planes=True,
    writes_pairs=True,
    decisions=(
        *(*Refusing, *SHARED, *BLOCKED, *PADDED, Bordering.COPIED, Fetching.WALK),
        *(Packing.SHUFFLED, Packing.BEFORE, Pairing.RESULT),
    ),
    edges=(PANEL, TILE, INSIDE, ROWS, SHARES, INPUTS[Channels.PLANAR], OUTPUT_TAIL, MERGED, SHUFFLED, SOURCE),
)


class _PlanarLayer(ConvLayer):
    """A layer whose source has blocks of one channel."""

    kernel = "planar"

    def algorithm(self) -> str:
        how = "as the caller has them" if self.op.caller is not None else "with zeros beside every row"
        return f"{super().algorithm()}, from {self._what} {how}"

    def edge_classes(self) -> set[str]:
        given = "given" if self.op.caller is not None else "copied"
        return super().edge_classes() | {SOURCE(f"{given} {self._what}")}

    @property
    def _what(self) -> str:
        return "planes" if self.source.layout.lanes == 1 else "interleaved pixels"
