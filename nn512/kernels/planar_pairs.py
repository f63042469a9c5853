"""Direct convolution on pairs of columns of a caller's tensor, for the platform AVX512BFloat16.

A picture of few channels has too few of them to pair up, so neighbouring columns under the filter do (see
`paired_columns`): what is left is the convolution of `planar` on half as many filter columns, and of half the stride
where that is even. What is read is rounded to bfloat16, once, and so are the weights (see `bfloat16`).

The last of an odd number of filter columns has none beside it. The column of the picture in the other half of its pair
would be multiplied by 0, and a NaN there would not become 0: so it is shifted out.

7x7 with stride 2 on 3x224x224 takes 1,340 us, and 2,130 in floats (Zen 4).
"""

from __future__ import annotations

from dataclasses import replace

from nn512.cgen.code import InferenceStep, LayerCode
from nn512.ir import ConvBranch, ConvOp
from nn512.ir.decision import Decision
from nn512.kernels import planar
from nn512.kernels.conv_blocking import INPUTS, INSIDE, MERGED, PANEL, ROWS, SHARES, TILE, Branch, Panels
from nn512.kernels.conv_cost import weight_bytes
from nn512.kernels.conv_deciding import BLOCKED, PADDED, SHARED
from nn512.kernels.conv_tile import Channels, TileRoutine
from nn512.kernels.convolution import ConvLayer
from nn512.kernels.deciding import Choosing, Pairing
from nn512.kernels.edges import OUTPUT_TAIL, Edges
from nn512.kernels.interface import Context, Kernel, Place, Setting, adding
from nn512.kernels.paired_columns import PairedColumns
from nn512.kernels.paired_source import paired_name
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.tiles import BFLOAT16
from nn512.plan.accuracy import BFLOAT16_ERROR
from nn512.plan.conv_geometry import Axis, PixelTile, axes, real_taps
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import blocks_of, natural
from nn512.plan.planes import given_layout
from nn512.plan.workspace import Workspace

SOURCE = Edges("source", ("given planes", "given interleaved pixels"))
COLUMNS = Edges("columns of the filter", ("even", "odd"))
PAIRING = Edges("pairs of columns", ("as they stand", "put together"))


class Refusing(Decision):
    """Why this kernel does not take a layer that `planar` takes."""

    SHUFFLED = "refused: rows of filters are packed as the channels stand, and these are shuffled"
    COLUMN = "refused: the filter has one column, which does not pair up"


def _refuses(op: ConvOp, setting: Setting) -> Decision | None:
    if reason := planar.refuses(op, setting):
        return reason
    if op.shuffled is not None:
        return Refusing.SHUFFLED
    return Refusing.COLUMN if op.node.filter_w == 1 else None


def _columns(op: ConvOp, setting: Setting) -> PairedColumns:
    """The pairs of columns that a layer reads, of a tensor in the caller's order."""
    caller = setting.given[op.branches[0].writes]
    source, result = setting.graph.shapes[caller.to_tensor], setting.places[op.branches[0].writes].shape
    return PairedColumns(op.node, source, result, given_layout(caller).lanes)


def _workspace(op: ConvOp, setting: Setting) -> Workspace:
    return _columns(op, setting).workspace(paired_name(op.name))


def _work(op: ConvOp, setting: Setting) -> Work:
    """A product of pairs costs what a fused multiply-add does (Zen 4); to make the pairs is a pass of its own."""
    columns, node = _columns(op, setting), op.node
    source, result = columns.source, columns.result
    rows, _ = axes(node, source, result)
    outputs = 16 * sum(blocks_of(branch.node.to_channels) for branch in op.branches)
    macs = outputs * source.channels * real_taps(rows) * result.width * columns.taps
    made = 4.0 * (source.channels * source.pixels + source.channels * source.height * columns.axis.size)
    moved = 4.0 * (source.channels * source.pixels + outputs * result.pixels) + EXPOSED * made
    return Work(macs, 0.96, weight_bytes(op, setting) / 2, moved)


def _emit(op: ConvOp, context: Context) -> LayerCode:
    context.library.use(BFLOAT16)
    return _PairedLayer(op, context).emit()


KERNEL = Kernel(
    "planar-bf16",
    ConvOp,
    _work,
    _emit,
    _refuses,
    _workspace,
    planes=True,
    pads=True,
    writes_pairs=True,
    weights="bf16",
    arithmetic="bfloat16",
    edges=(
        *(PANEL, TILE, INSIDE, ROWS, SHARES, INPUTS[Channels.PLANAR], OUTPUT_TAIL, MERGED),
        *(SOURCE, COLUMNS, PAIRING),
    ),
    decisions=(
        Choosing.PLATFORM,
        *planar.Refusing,
        *Refusing,
        *SHARED,
        *BLOCKED,
        *PADDED,
        Pairing.ROUNDED,
        Pairing.RESULT,
    ),
    platform="AVX512BFloat16",
    added_error=adding(BFLOAT16_ERROR),
)


class _PairedLayer(ConvLayer):
    """A layer whose source becomes pairs of columns first, in planes."""

    kernel = "planar-bf16"
    pairs = True

    @property
    def _paired(self) -> PairedColumns:
        return _columns(self.op, self.context.setting)

    @property
    def scratch(self) -> str:
        return paired_name(self.op.name)

    @property
    def fills_scratch(self) -> bool:
        return True

    def first_step(self) -> str:
        return self._paired.text(self.context, self.given, self.source)

    def steps(self) -> tuple[InferenceStep, ...]:
        *_, main = super().steps()
        return self._paired.first_step(self.source.name), main

    def _axes(self, result: Place) -> tuple[Axis, Axis]:
        rows, _ = axes(self.node, self.given.shape, result.shape)
        return rows, self._paired.axis

    def _weights(self, branch: ConvBranch, panel: int) -> PairedWeights:
        node = branch.node
        rows = self.inputs * node.filter_h
        columns = natural(rows * node.filter_w)  # of all filter rows of all channels
        return PairedWeights(node, (1, 1), rows * self._paired.taps, columns, panel, branch.folded, run=node.filter_w)

    @property
    def _lone(self) -> bool:
        """Whether the last filter column has none beside it."""
        return self.node.filter_w % 2 == 1

    def routine(self, branch: Branch, panels: Panels, tile: PixelTile, row_tile: PixelTile) -> TileRoutine:
        routine = super().routine(branch, panels, tile, row_tile)
        if not self._lone:
            return routine
        (run,) = routine.runs
        last = run.last - 1
        return replace(routine, runs=(run._replace(last=last), run._replace(first=last)), lone=True)

    def algorithm(self) -> str:
        return f"{super().algorithm()}, inputs and weights rounded to pairs of columns of bfloat16"

    def edge_classes(self) -> set[str]:
        paired = self._paired
        return super().edge_classes() | {
            SOURCE("given planes" if paired.lanes == 1 else "given interleaved pixels"),
            COLUMNS("odd" if self._lone else "even"),
            PAIRING("as they stand" if paired.as_they_stand else "put together"),
        }
