"""Convolution by Fourier transforms of tiles, for large filters: products of spectra, see `fourier_transforms`.

Transforms of N elements along an axis give N + 1 - taps results. With stride 2 the filter and what a tile sees are
split into phases, every second row and column, each of which counts as a channel; so results need no more of the
transforms than at stride 1. Filters of one row or column are transformed along one axis. Longer ones than half a
transform are cut into pieces, each of which counts as a channel, too, and sees the tile moved by its taps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nn512.cgen.code import LayerCode
from nn512.cgen.expressions import Constant, Expression, Name, extent, least
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Conv
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import StepFunction
from nn512.kernels.complex_products import ComplexProductRoutine
from nn512.kernels.edges import Edges
from nn512.kernels.fourier_tile import FourierTile
from nn512.kernels.fourier_transforms import InputRoutine, ResultRoutine
from nn512.kernels.full_panel import Stored
from nn512.kernels.interface import Context
from nn512.kernels.products import ProductRoutine
from nn512.kernels.tile_cut import TileVariant, overhang
from nn512.kernels.tile_layer import TileLayer
from nn512.kernels.tile_parts import Call, Cell, Panel
from nn512.plan.layout import LANES

LONGEST_OF_TILES = 16
"""The longest transform in two dimensions: longer ones are for filters of one row or column."""

MUCH = 5
"""Rows or columns of overhang from which on their number makes no edge class of its own."""

MOST_ROWS = 13
"""Rows of results of a tile at most: more may take a stack of over 16 KiB, and so short filters are others' work."""


class Refusing(Decision):
    """Why there is no tile for a convolution."""

    TAP = "refused: the filter has one tap"
    LINES = "refused: so long a transform is for one row or column of taps"
    STRIDE = "refused: the stride is more than 2"
    RESULTS = "refused: a tile would have one result, or none"
    STACK = "refused: so many results for so short a filter take too large a stack"


@dataclass(frozen=True, slots=True)
class Variant(TileVariant[FourierTile]):
    """A kernel: length of the transforms, format of weights."""

    size: int
    arithmetic: ClassVar[str] = "fourier"

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return f"fourier-{self.size}{self.stored.ending}"

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """See `TileVariant`."""
        return (*Refusing,)

    def tile(self, node: Conv) -> FourierTile | Refusing:
        """What is done to a tile, or why there is none."""
        filter_, strides = (node.filter_h, node.filter_w), (node.stride_h, node.stride_w)
        rows, columns = (self.size if taps > 1 else 1 for taps in filter_)
        if rows * columns == 1:
            return Refusing.TAP
        if self.size > LONGEST_OF_TILES and 1 not in filter_:
            return Refusing.LINES
        taps = max(filter_)
        pieces = -(-taps // (self.size // 2)) if 1 in filter_ and strides == (1, 1) and taps > self.size // 2 else 1
        tile = FourierTile((rows, columns), filter_, strides, pieces)
        if max(tile.steps) > 2:
            return Refusing.STRIDE
        if any(outputs <= 1 < size for outputs, size in zip(tile.outputs, tile.sizes, strict=True)):
            return Refusing.RESULTS
        return tile if 1 in tile.sizes or tile.outputs[0] <= MOST_ROWS else Refusing.STACK

    def amplification(self, node: Conv) -> float:
        """See `TileVariant`. The transform is orthogonal, but for its scale."""
        del node
        return 1.0

    def most(self, blocks: int) -> int:
        """See `TileVariant`: pairs of numbers, of which nearly all are complex ones."""
        return ComplexProductRoutine(blocks, self.stored.scaled).most

    @property
    def filters(self) -> tuple[Edges, ...]:
        """See `TileVariant`: which axes are transformed, and into how many parts a tile is split."""
        both = self.size <= LONGEST_OF_TILES
        return (
            Edges("transforms of", ("rows", "columns", *(("both",) if both else ()))),
            Edges("phases", (1, 2, *((4,) if both else ()))),
            Edges("pieces", ("one", "several")),
        )

    @property
    def overhangs(self) -> tuple[Edges, Edges]:
        """See `TileVariant`: tiles have up to 63 results along an axis, and what overhangs by many is alike."""
        return overhang("rows", (*range(MUCH), "more")), overhang("columns", (*range(MUCH), "more"))

    def filter_classes(self, node: Conv) -> tuple[str, ...]:
        """See `TileVariant`."""
        tile = self.tile_of(node)
        axes, phases, pieces = self.filters
        word = "both" if 1 not in tile.sizes else "rows" if tile.sizes[1] == 1 else "columns"
        return axes(word), phases(math.prod(tile.steps)), pieces("one" if tile.pieces == 1 else "several")

    def emit(self, op: ConvOp, context: Context) -> LayerCode:
        """The code of a layer."""
        return FourierLayer(op, context, self, self.tile_of(op.node)).emit()


class FourierLayer(TileLayer):
    """The text of one layer."""

    routine = "pack_fourier"
    POSITION = "pair"

    def __init__(self, op: ConvOp, context: Context, variant: Variant, tile: FourierTile) -> None:
        super().__init__(op, context, variant)
        self.tile = tile

    def advantage(self) -> str:
        """See `TileLayer`."""
        node, tile = self.node, self.tile
        direct = tile.outputs[0] * tile.outputs[1] * node.filter_h * node.filter_w
        saved = direct / (tile.multiplications * tile.phases)
        return f"{saved:.3g} times fewer multiplications"

    def pack_arguments(self) -> list[str]:
        """See `TileLayer`."""
        tile = self.tile
        return [
            f".rowSize = {tile.sizes[0]}",
            f".columnSize = {tile.sizes[1]}",
            f".rowStep = {tile.steps[0]}",
            f".columnStep = {tile.steps[1]}",
            *([f".pieces = {tile.pieces}"] if tile.pieces > 1 else []),
        ]

    @property
    def products(self) -> int:
        """Pairs of numbers of a spectrum: complex ones, and two real ones."""
        return self.tile.positions // 2

    @property
    def clips(self) -> bool:
        """See `TileParts`; also where some phases have fewer taps than others, so that a tile sees less."""
        return super().clips or self._is_uneven

    @property
    def has_inner(self) -> bool:
        """See `TileParts`; not where some phases have fewer taps than others."""
        return super().has_inner and not self._is_uneven

    @property
    def _is_uneven(self) -> bool:
        return self.tile.reach != self.tile.windows

    def input_calls(
        self, source: Name, index: tuple[Expression, Expression, Expression], place: list[Expression], lanes: Expression
    ) -> list[Call]:
        """See `TileParts`."""
        tile, shape, library = self.tile, self.source.shape, self.context.library
        block, y, x = index
        starts = [y, x]
        if tile.phases > 1:
            down, across = tile.steps
            phase = Name("phase")
            starts = [y + (phase // across if down > 1 else 0), x + (phase % across)]
            if tile.pieces > 1:
                long = tile.sizes.index(max(tile.sizes))
                starts = [y, x]
                starts[long] += phase * tile.taps[long]
        row = extent(shape.width, LANES)
        calls = []
        if self.has_inner:
            name = InputRoutine(tile.sizes, tile.steps, clipped=False).add(library)
            rows = [row] if tile.sizes[0] > 1 else []
            calls.append((name, [source.at(block, *starts), *rows, *place]))
        if self.clips:
            name = InputRoutine(tile.sizes, tile.steps, clipped=True).add(library)
            ends: list[Expression] = [
                least(start + reach, size) if reach < window else Constant(size)
                for start, reach, window, size in zip(
                    (y, x), tile.reach, tile.windows, (shape.height, shape.width), strict=True
                )
            ]
            calls.append((name, [source.at(block, 0, 0), row, *ends, *starts, lanes, *place]))
        return calls

    def write_panel(self, writer: Writer, function: StepFunction, factors: Cell, products: Cell, panel: Panel) -> None:
        """See `TileParts`."""
        pairs = self.tile.real_pairs
        condition = " || ".join(f"{panel.position} == {pair}" for pair in pairs)
        with writer.block(f"if ({condition})", note="two real numbers"):
            loop = f"for (ptrdiff_t number = 2 * {panel.position}; number < 2 * {panel.position} + 2; number++)"
            with writer.block(loop):
                self._write_calls(writer, function, factors, products, panel, parts=1)
        with writer.block("else"):
            self._write_calls(writer, function, factors, products, panel, parts=2)

    def _write_calls(
        self, writer: Writer, function: StepFunction, factors: Cell, products: Cell, panel: Panel, parts: int
    ) -> None:
        """Write the calls for real or for complex numbers."""
        cut, node, group = self.cut, self.node, panel.group
        stored = self.variant.stored
        routine = (
            ProductRoutine(panel.width, stored) if parts == 1 else ComplexProductRoutine(panel.width, stored.scaled)
        )
        name = routine.add(self.context.library)
        position = Name("number") if parts == 1 else panel.position * 2
        weights = (group * self.tile.positions + position) * cut.output_blocks + panel.block * parts
        first_output = group * cut.output_blocks + panel.block

        def write(size: int, begin: int) -> None:
            input_part, output_part = (
                [extent(row, LANES)] if parts == 2 else [] for row in (cut.factor_row, cut.product_row)
            )
            writer.statement(
                name,
                [
                    factors(position, Constant(begin)),
                    *input_part,
                    Constant(cut.input_blocks),
                    extent(cut.block_tiles, LANES),
                    function.weights_of(node) + weights * extent(cut.input_blocks * LANES, LANES),
                    *self.scales(function, position, first_output),
                    self.ahead,
                    products(position, panel.block * cut.block_tiles + begin),
                    *output_part,
                    *([extent(cut.block_tiles, LANES)] if panel.width > 1 else []),
                    Constant(size),
                ],
                ";",
            )

        self.write_passes(writer, panel.tiles, routine.most, write)

    def add_results(self) -> str:
        """See `TileParts`."""
        tile = self.tile
        routine = ResultRoutine(tile.sizes, tile.outputs, self.grid.ragged, self.chain.neutral)
        return routine.add(self.context.library)


SIZES = (8, 16, 32, 64)
"""Lengths of transforms that are worth a kernel."""

KERNELS = tuple(Variant(stored, size).kernel() for stored in (Stored.FLOATS, Stored.HALVES) for size in SIZES)
