"""Direct convolution on pairs of bfloat16, for the platform AVX512BFloat16.

What is read is rounded to bfloat16, once, to nearest even, and so are the weights, after a batch norm of the result is
folded into them; products are exact, sums are floats, and what follows in registers is as everywhere. The kernel's
first step writes the rounded source to scratch memory, with element-wise steps before the convolution applied first,
unless the source was stored so because nobody reads it otherwise (see `storing`). So the meaning of a layer depends on
no other layer, and every other kernel works beside this one as it is.

A pair of channels takes the place of a float (see `paired_source`), in what is read and in the weights. A convolution
on pairs is therefore the direct convolution of half as many channels, tile for tile, with another instruction for the
multiplication: `_mm512_dpbf16_ps`, which adds the product of the upper halves and then that of the lower ones.

On Zen 4 the instruction does twice the products of a fused multiply-add in the same time. Sapphire Rapids begins one
every other cycle, but two fused multiply-adds in every cycle: half the products. There this platform is slower.

Groups are taken that are whole blocks of pairs; `grouped_pairs` has smaller ones. Left out are averages
that moved before the convolution, since it would round them instead of what the graph has.
"""

from __future__ import annotations

from nn512.cgen.code import LayerCode
from nn512.ir import ConvBranch, ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body
from nn512.kernels.conv_blocking import COLUMNS, FAR, INPUTS, MERGED, PANEL, ROWS, SHARES, TILE
from nn512.kernels.conv_cost import padded_macs, tensor_bytes, weight_bytes
from nn512.kernels.conv_deciding import BLOCKED, PADDED, SHARED, Bordering, Fetching, Panelling
from nn512.kernels.conv_tile import Channels
from nn512.kernels.convolution import ConvLayer
from nn512.kernels.deciding import Chaining, Choosing, Packing, Pairing
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED, Edges
from nn512.kernels.elementwise import Store
from nn512.kernels.interface import Context, Kernel, Setting, adding
from nn512.kernels.paired_source import (
    PAIRS,
    RESULT,
    SOURCE,
    PairStore,
    Rounding,
    paired_name,
    paired_source,
    pairing,
    pairing_classes,
    pairs_of,
    rounded,
    rounding_bytes,
    rounding_refuses,
)
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.tiles import BFLOAT16
from nn512.plan.accuracy import BFLOAT16_ERROR
from nn512.plan.cost import Work
from nn512.plan.layout import LANES, blocks_of, natural
from nn512.plan.workspace import Workspace

GROUPS = Edges("groups of whole blocks of pairs")


class Refusing(Decision):
    """Why this kernel does not take a layer of groups."""

    SEGMENTS = "refused: groups of channels stand in segments"
    BLOCKS = "refused: groups are no whole blocks of pairs and of outputs"


def _refuses(op: ConvOp, setting: Setting) -> Decision | None:
    layout, node = setting.places[op.source].layout, op.node
    if reason := rounding_refuses(op, setting):
        return reason
    if node.groups > 1 and not layout.regular:
        return Refusing.SEGMENTS
    whole = layout.channels // node.groups % (2 * LANES) == node.to_channels // node.groups % LANES == 0
    return None if node.groups == 1 or whole else Refusing.BLOCKS


def _workspace(op: ConvOp, setting: Setting) -> Workspace:
    return paired_source(op.name, setting.places[op.source])


def _work(op: ConvOp, setting: Setting) -> Work:
    """A product of pairs costs what a fused multiply-add does (Zen 4); to round the source is a pass of its own."""
    source = setting.places[op.source]
    macs = padded_macs(op, setting) * pairs_of(source.layout) / source.shape.channels
    return Work(macs, 0.96, weight_bytes(op, setting) / 2, tensor_bytes(op, setting) + rounding_bytes(source))


def _emit(op: ConvOp, context: Context) -> LayerCode:
    context.library.use(BFLOAT16)
    return _PairedLayer(op, context).emit()


KERNEL = Kernel(
    "direct-bf16",
    ConvOp,
    _work,
    _emit,
    _refuses,
    _workspace,
    weights="bf16",
    arithmetic="bfloat16",
    edges=(
        *(PANEL, TILE, COLUMNS, ROWS, SHARES, FAR),
        *(INPUTS[Channels.WHOLE], INPUTS[Channels.TAIL], OUTPUT_TAIL, MERGED, SHUFFLED, PAIRS, GROUPS),
        *(SOURCE, RESULT),
    ),
    decisions=(
        Choosing.PLATFORM,
        *(*Rounding, *Refusing, *SHARED, *BLOCKED, *PADDED, Bordering.COLUMNS, Bordering.COPIED, Panelling.GROUPS),
        *(Fetching.FAR, Fetching.NEAR, Packing.SHUFFLED, Chaining.FIRST, *Pairing, Body.VARYING),
    ),
    platform="AVX512BFloat16",
    added_error=adding(BFLOAT16_ERROR),
    reads_pairs=True,
    writes_pairs=True,
)


class _PairedLayer(ConvLayer):
    """A layer whose source is rounded to pairs first."""

    kernel = "direct-bf16"
    pairs = True

    @property
    def scratch(self) -> str:
        return paired_name(self.op.name)

    @property
    def fills_scratch(self) -> bool:
        return not self.given.pairs

    def _weights(self, branch: ConvBranch, panel: int) -> PairedWeights:
        pairs = blocks_of(self.inputs) * LANES
        taps = branch.node.filter_h, branch.node.filter_w
        layout = self.given.layout if self.node.groups == 1 else natural(2 * self.inputs)
        return PairedWeights(branch.node, taps, pairs, layout, panel, branch.folded, self.op.shuffled)

    def store(self) -> Store:
        return PairStore(self.given.layout)

    def algorithm(self) -> str:
        return f"{super().algorithm()}, {rounded(self.given)}"

    def edge_classes(self) -> set[str]:
        groups = {GROUPS()} if self.node.groups > 1 else set()
        stored = pairing_classes(self.given, *(branch.result for branch in self.branches))
        return super().edge_classes() | {pairing(self.given.layout)} | groups | stored
