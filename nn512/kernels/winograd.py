"""Winograd convolution: tiles of results from fewer products, by the algorithms of `nn512.algebra.cook_toom`.

A tile of inputs, 16 channels at a time, is transformed into factors; at each of the tile's positions the factors of all
input channels meet transformed weights in a small matrix product, which runs like a pointwise convolution over tiles;
sums of products are transformed into results, with biases and element-wise steps. Stride 1, filters of up to 7 taps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nn512.algebra.cook_toom import FINE_POINTS, Transform, cook_toom, is_known
from nn512.cgen.code import LayerCode, Routine
from nn512.cgen.expressions import Constant, Expression, Name, extent
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Conv
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import StepFunction
from nn512.kernels.edges import Edges
from nn512.kernels.full_panel import Stored
from nn512.kernels.interface import Context
from nn512.kernels.products import LONGEST_PASS, ProductRoutine
from nn512.kernels.tile_cut import TileVariant, overhang
from nn512.kernels.tile_layer import TileLayer
from nn512.kernels.tile_parts import Call, Cell, Panel
from nn512.kernels.tiles import BFLOAT16
from nn512.kernels.winograd_transforms import InputRoutine, ResultRoutine, TileTransform
from nn512.plan.layout import LANES

MOST_TAPS = 7
"""Taps of an axis at most: for more there are no points."""


class Refusing(Decision):
    """Why there is no tile for a convolution."""

    STRIDE = "refused: the stride is not 1"
    TAP = "refused: the filter has one tap"
    POINTS = "refused: there are no points for a filter of that length"
    SAME = "refused: a square tile does the same along the only axis of the filter"


class Summing(Decision):
    """How many blocks of outputs are summed together."""

    ONE = "the only block of outputs is summed"
    BLOCKS = "two blocks of outputs are summed together: each thread has its tiles"
    FEW = "two blocks of outputs are summed together: all tiles are one pass"
    PAIRS = "two blocks of outputs are summed together: passes over pairs are short"
    ALONE = "blocks of outputs are summed alone, so that all tiles are one pass"


@dataclass(frozen=True, slots=True)
class Variant(TileVariant[TileTransform]):
    """A kernel: results of a tile, rows x columns, for filters with several rows and columns; format of weights.

    Along an axis where the filter has one tap, tiles have one result.
    """

    rows: int
    columns: int
    arithmetic: ClassVar[str] = "winograd"

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return f"winograd-{self.rows}x{self.columns}{self.stored.ending}"

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """See `TileVariant`."""
        return (*Refusing, *Summing)

    def tile(self, node: Conv) -> TileTransform | Refusing:
        """The transforms for a filter, or why there are none: another variant may have the same."""
        if (node.stride_h, node.stride_w) != (1, 1):
            return Refusing.STRIDE
        rows = 1 if node.filter_h == 1 else self.rows
        columns = 1 if node.filter_w == 1 else self.columns
        if rows * columns == 1:
            return Refusing.TAP
        if not (is_known(rows, node.filter_h) and is_known(columns, node.filter_w)):
            return Refusing.POINTS
        if self.rows != self.columns and 1 in (rows, columns):
            return Refusing.SAME
        return TileTransform(self._transform(rows, node.filter_h), self._transform(columns, node.filter_w))

    def _transform(self, outputs: int, taps: int) -> Transform:
        points = FINE_POINTS.get(outputs + taps - 1) if self.stored is Stored.PAIRS else None
        return cook_toom(outputs, taps, points)

    def amplification(self, node: Conv) -> float:
        """See `TileVariant`."""
        tile = self.tile_of(node)
        return tile.rows.amplification * tile.columns.amplification

    def most(self, blocks: int) -> int:
        """See `TileVariant`."""
        return ProductRoutine(blocks, self.stored).most

    @property
    def filters(self) -> tuple[Edges, ...]:
        """See `TileVariant`: the transforms along rows and along columns."""
        axes = (("rows", self.rows), ("columns", self.columns))
        taps = range(1 if self.rows == self.columns else 2, MOST_TAPS + 1)
        return tuple(
            Edges(f"filter {word}", tuple(n for n in taps if n == 1 or is_known(outputs, n))) for word, outputs in axes
        )

    @property
    def overhangs(self) -> tuple[Edges, Edges]:
        """See `TileVariant`."""
        return overhang("rows", range(self.rows)), overhang("columns", range(self.columns))

    def filter_classes(self, node: Conv) -> tuple[str, ...]:
        """See `TileVariant`."""
        return tuple(family(taps) for family, taps in zip(self.filters, (node.filter_h, node.filter_w), strict=True))

    def emit(self, op: ConvOp, context: Context) -> LayerCode:
        """The code of a layer."""
        tile = self.tile_of(op.node)
        if self.stored is Stored.PAIRS:
            context.library.use(BFLOAT16)
        return WinogradLayer(op, context, self, tile).emit()


class WinogradLayer(TileLayer):
    """The text of one layer."""

    def __init__(self, op: ConvOp, context: Context, variant: Variant, tile: TileTransform) -> None:
        super().__init__(op, context, variant)
        self.tile = tile

    @property
    def routine(self) -> str:
        """See `TileLayer`."""
        return "pack_winograd_pairs" if self.variant.stored is Stored.PAIRS else "pack_winograd"

    def advantage(self) -> str:
        """See `TileLayer`."""
        node, tile = self.node, self.tile
        saved = tile.rows.outputs * tile.columns.outputs * node.filter_h * node.filter_w / tile.positions
        return f"{saved:.3g} times fewer multiplications"

    def pack_arguments(self) -> list[str]:
        """See `TileLayer`."""
        tile = self.tile
        return [
            f".rowProducts = {tile.rows.products}",
            f".columnProducts = {tile.columns.products}",
            f".rowFactors = {_table(tile.rows).name}",
            f".columnFactors = {_table(tile.columns).name}",
        ]

    def pack_tables(self) -> tuple[Routine, ...]:
        """See `TileLayer`."""
        return tuple(dict.fromkeys((_table(self.tile.rows), _table(self.tile.columns))))

    @property
    def panel_blocks(self) -> int:
        """Output blocks that are summed together: one where the tiles do not fit into one pass otherwise.

        Pairs are so short that two passes take less than the loads of one: 454 us instead of 507 for F(4x4) on 256
        channels at 14x14 (Zen 4).
        """
        return 1 if self._summing is Summing.ALONE else super().panel_blocks

    @property
    def _summing(self) -> Summing:
        tiles = self.cut.block_tiles
        if self.cut.output_blocks == 1:
            return Summing.ONE
        if not self.cut.in_steps:
            return Summing.BLOCKS
        if tiles <= LONGEST_PASS:
            return Summing.FEW
        return Summing.PAIRS if self.variant.stored is Stored.PAIRS else Summing.ALONE

    def tell(self) -> None:
        """See `TileLayer`."""
        super().tell()
        self.context.decided(self._summing)

    def input_calls(
        self, source: Name, index: tuple[Expression, Expression, Expression], place: list[Expression], lanes: Expression
    ) -> list[Call]:
        """See `TileParts`."""
        shape, library = self.source.shape, self.context.library
        block, y, x = index
        calls = []
        if self.has_inner:
            name = InputRoutine(self.tile, self.variant.stored, clipped=False).add(library)
            calls.append((name, [source.at(block, y, x), extent(shape.width, LANES), *place]))
        if self.clips:
            name = InputRoutine(self.tile, self.variant.stored, clipped=True).add(library)
            window = [source.at(block, 0, 0), Constant(shape.height), Constant(shape.width), y, x, lanes]
            calls.append((name, [*window, *place]))
        return calls

    def write_panel(self, writer: Writer, function: StepFunction, factors: Cell, products: Cell, panel: Panel) -> None:
        """See `TileParts`."""
        cut, node, lanes = self.cut, self.node, self.variant.stored.input_lanes
        routine = ProductRoutine(panel.width, self.variant.stored)
        name = routine.add(self.context.library)
        group, position = panel.group, panel.position
        inputs = extent(cut.input_blocks * lanes, LANES)
        weights = ((group * self.tile.positions + position) * cut.output_blocks + panel.block) * inputs
        first_output = group * cut.output_blocks + panel.block
        scales = self.scales(function, position, first_output)

        def write(size: int, begin: int) -> None:
            writer.statement(
                name,
                [
                    factors(position, Constant(begin)),
                    Constant(cut.input_blocks),
                    extent(cut.block_tiles, lanes),
                    function.weights_of(node) + weights,
                    *scales,
                    self.ahead,
                    products(position, panel.block * cut.block_tiles + begin),
                    *([extent(cut.block_tiles, LANES)] if panel.width > 1 else []),
                    Constant(size),
                ],
                ";",
            )

        self.write_passes(writer, panel.tiles, routine.most, write)

    def add_results(self) -> str:
        """See `TileParts`."""
        return ResultRoutine(self.tile, self.grid.ragged, self.chain.neutral).add(self.context.library)


def _table(transform: Transform) -> Routine:
    """The matrix that transforms weights, as a table. The compiler computes quotients, so they are rounded once."""
    name = f"winograd{transform.outputs}_{transform.taps}{transform.mark}_weights"
    writer = Writer()
    writer.comment(f"W of F({transform.outputs}, {transform.taps}), [product][tap].")
    numbers = (str(factor).replace("/", ".0 / ") for row in transform.weights for factor in row)
    writer.table(f"static const double {name}[{extent(transform.products, transform.taps)}]", numbers)
    return Routine(name, f"\n{writer.text()}")


TILES = ((2, 2), (3, 3), (4, 4), (5, 5), (2, 4))
"""Results of a tile, rows x columns, that are worth a kernel."""

HALVES = ((2, 2), (3, 3), (4, 4), (2, 4))
"""Those that are worth one with half weights. Results err 0.3, 1.3, 1.1 and 0.6 thousandths then, in rms over 64
channels; those of 5x5 would err 1.9."""

PAIRS = ((2, 2), (4, 4), (2, 4))
"""Those that are worth one with pairs of bfloat16. Results err 4, 11 and 7 thousandths then, those of direct products
2.3; those of 5x5 would err 29."""

KERNELS = tuple(
    Variant(stored, rows, columns).kernel()
    for stored, tiles in ((Stored.FLOATS, TILES), (Stored.HALVES, HALVES), (Stored.PAIRS, PAIRS))
    for rows, columns in tiles
)
