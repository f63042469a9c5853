"""Direct convolution on pairs of bfloat16, for the platform AVX512BFloat16.

What is read is rounded to bfloat16, once, to nearest even, and so are the weights, after a batch norm of the result is
folded into them; products are exact, sums are floats, and what follows in registers is as everywhere. Tensors stay
floats in memory: the kernel's first step writes the rounded source to scratch memory, with element-wise steps before
the convolution applied first. So the meaning of a layer depends on no other layer, and every other kernel works beside
this one as it is.

Two neighbouring channels are a pair, and a pair takes the place of a float: the scratch tensor is one of half as many
channels in blocks of 16, and so are the weights. A convolution on pairs is therefore the direct convolution of half as
many channels, tile for tile, with another instruction for the multiplication: `_mm512_dpbf16_ps`, which adds the
product of the upper halves and then that of the lower ones.

Channels pair up by the places where they stand: places 2i and 2i+1 make pair i. Where segments end inside a block, all
places are pairs, and those without a channel are zeros, as are their weights.

On Zen 4 the instruction does twice the products of a fused multiply-add in the same time. Sapphire Rapids begins one
every other cycle, but two fused multiply-adds in every cycle: half the products. There this platform is slower.

Left out are groups; batch norms that are folded in from before, since they would change what is rounded; and averages
that moved before the convolution, since it would round them instead of what the graph has.
"""

from __future__ import annotations

from collections.abc import Sequence

from nn512.cgen.code import LayerCode
from nn512.cgen.expressions import Expression, Name
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Shape
from nn512.ir import ConvBranch, ConvOp
from nn512.kernels.conv_blocking import COLUMNS, FAR, INPUTS, MERGED, PANEL, ROWS, SHARES, TILE
from nn512.kernels.conv_cost import padded_macs, tensor_bytes, weight_bytes
from nn512.kernels.conv_tile import Channels
from nn512.kernels.convolution import ConvLayer
from nn512.kernels.edges import OUTPUT_TAIL, Edges
from nn512.kernels.elementwise import Store
from nn512.kernels.interface import Context, Kernel, Setting
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.tiles import BFLOAT16, BFLOAT16_TARGET
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import LANES, Layout, natural
from nn512.plan.workspace import Scratch, Workspace

PAIRS = Edges("channels pair up", ("even", "odd", "in segments"))


def _applies(op: ConvOp, setting: Setting) -> bool:
    moved = op.source in setting.averaged
    return op.node.groups == 1 and op.caller is None and not op.normalized and not moved


def _pairs_of(layout: Layout) -> int:
    """Pairs of channels, or of all places where segments end inside a block."""
    return -(-layout.channels // 2) if layout.regular else layout.block_count * LANES // 2


def _scratch(op: ConvOp) -> str:
    return f"{op.name}_pairs"


def _workspace(op: ConvOp, setting: Setting) -> Workspace:
    """The source as pairs."""
    source = setting.places[op.source]
    pairs = _pairs_of(source.layout)
    shape = Shape(pairs, source.shape.height, source.shape.width)
    return Workspace((Scratch(_scratch(op), shape, natural(pairs)),))


def _work(op: ConvOp, setting: Setting) -> Work:
    """A product of pairs costs what a fused multiply-add does (Zen 4); to round the source is a pass of its own."""
    source = setting.places[op.source]
    whole = 64.0 * source.layout.block_count * source.shape.pixels
    macs = padded_macs(op, setting) * _pairs_of(source.layout) / source.shape.channels
    return Work(macs, 0.96, weight_bytes(op, setting) / 2, tensor_bytes(op, setting) + 1.5 * EXPOSED * whole)


def _emit(op: ConvOp, context: Context) -> LayerCode:
    context.library.use(BFLOAT16)
    return _PairedLayer(op, context).emit()


KERNEL = Kernel(
    "direct-bf16",
    ConvOp,
    _work,
    _emit,
    _applies,
    _workspace,
    weights="bf16",
    arithmetic="bfloat16",
    edges=(
        *(PANEL, TILE, COLUMNS, ROWS, SHARES, FAR),
        *(INPUTS[Channels.WHOLE], INPUTS[Channels.TAIL], OUTPUT_TAIL, MERGED, PAIRS),
    ),
    platform="AVX512BFloat16",
)


class _PairedLayer(ConvLayer):
    """A layer whose source is rounded to pairs first."""

    kernel = "direct-bf16"
    pairs = True

    @property
    def scratch(self) -> str:
        return _scratch(self.op)

    @property
    def fills_scratch(self) -> bool:
        return True

    def _weights(self, branch: ConvBranch, panel: int) -> PairedWeights:
        return PairedWeights(branch.node, self.inputs, self.given.layout, panel, branch.folded)

    def store(self) -> Store:
        return _Rounding(self.given.layout)

    def algorithm(self) -> str:
        return f"{super().algorithm()}, inputs and weights rounded to pairs of bfloat16"

    def edge_classes(self) -> set[str]:
        layout = self.given.layout
        places = "in segments" if not layout.regular else "odd" if layout.channels % 2 else "even"
        return super().edge_classes() | {PAIRS(places)}


class _Rounding(Store):
    """A block of 16 channels becomes 8 pairs, the lower or the upper half of a block of pairs."""

    word = "pairs"
    target = BFLOAT16_TARGET

    def __init__(self, layout: Layout) -> None:
        blocks = (span.channels for span in layout.spans for _ in range(span.blocks))
        masks = [(1 << channels) - 1 for channels in blocks]
        lone = [mask for mask in masks if mask.bit_count() % 2 or (mask != 0xFFFF and not layout.regular)]
        self._masks = masks if lone else []

    def begin(self, writer: Writer) -> None:
        """Lanes without a channel hold anything, and a pair of them must be two zeros."""
        if self._masks:
            writer.comment("which lanes of each block hold a channel: what pairs up with one, or with none, is 0")
            writer.table("static const __mmask16 lanes[]", (f"{mask:#x}" for mask in self._masks))

    def write(self, writer: Writer, value: str, result: Name, block: Expression, pixel: Sequence[Expression]) -> None:
        if self._masks:
            writer.line(f"{value} = _mm512_maskz_mov_ps(lanes[{block}], {value});")
        place = result.at(block // 2, *pixel).offset(block % 2 * 8)
        writer.line(f"_mm256_storeu_si256((__m256i *)({place}), (__m256i)_mm512_cvtneps_pbh({value}));")
