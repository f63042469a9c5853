"""What a layer reads, rounded to pairs of bfloat16 in working memory: the first step of kernels that multiply pairs.

Two neighbouring channels are a pair, and a pair takes the place of a float: the tensor of pairs is one of half as many
channels in blocks of 16. Channels pair up by the places where they stand: places 2i and 2i+1 make pair i, the even one
in the lower half. Where segments end inside a block, all places are pairs, and those without a channel are zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from nn512.cgen.expressions import Expression, Name
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Shape
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.edges import Edges
from nn512.kernels.elementwise import Store
from nn512.kernels.interface import Place, Setting
from nn512.kernels.tiles import BFLOAT16_TARGET, store_pairs
from nn512.plan.cost import EXPOSED
from nn512.plan.layout import LANES, Layout, natural
from nn512.plan.workspace import NO_WORKSPACE, Scratch, Workspace

SOURCE = Edges("source in pairs")
RESULT = Edges("result in pairs")
PAIRS = Edges("channels pair up", ("even", "odd", "in segments"))


class Rounding(Decision):
    """Why kernels that multiply pairs do not take a layer."""

    AVERAGED = "refused: it would round an average that the graph does not have"


def rounding_refuses(op: ConvOp, setting: Setting) -> Rounding | None:
    """Why what a layer reads may not be rounded, if so: it is not what the graph has.

    No batch norm is folded in from before on this platform (see `passes.fold_batchnorm`).
    """
    return Rounding.AVERAGED if op.source in setting.averaged else None


def pairing(layout: Layout) -> str:
    """The edge class of a layout whose channels pair up."""
    return PAIRS("in segments" if not layout.regular else "odd" if layout.channels % 2 else "even")


def pairs_of(layout: Layout) -> int:
    """Pairs of channels, or of all places where segments end inside a block."""
    return -(-layout.channels // 2) if layout.regular else layout.block_count * LANES // 2


def pairing_classes(source: Place, *results: Place) -> set[str]:
    """The edge classes of what is stored as pairs."""
    return ({SOURCE()} if source.pairs else set()) | ({RESULT()} if any(one.pairs for one in results) else set())


def rounded(source: Place) -> str:
    """What a layer that reads this rounds, in words."""
    return "weights rounded to pairs of bfloat16" if source.pairs else "inputs and weights rounded to pairs of bfloat16"


def paired_name(layer: str) -> str:
    """Name of the pairs that a layer reads, and of the step that writes them."""
    return f"{layer}_pairs"


def paired_source(layer: str, source: Place) -> Workspace:
    """Working memory for the source of a layer as pairs, if it is not stored so."""
    if source.pairs:
        return NO_WORKSPACE
    pairs = pairs_of(source.layout)
    shape = Shape(pairs, source.shape.height, source.shape.width)
    return Workspace((Scratch(paired_name(layer), shape, natural(pairs)),))


def rounding_bytes(source: Place) -> float:
    """Bytes that this step moves, in terms of those that stream beside arithmetic: it is a pass of its own.

    There is none where the source is, or can be, stored so.
    """
    if source.pairs:
        return 0.0
    return 1.5 * EXPOSED * source.bytes


class PairStore(Store):
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
        """See `Store`."""
        if self._masks:
            writer.line(f"{value} = _mm512_maskz_mov_ps(lanes[{block}], {value});")
        place = result.at(block // 2, *pixel).offset(block % 2 * 8)
        writer.line(store_pairs(place, Name(value)))
