"""The three parts of a layer that is computed tile by tile: of inputs, of products, of results.

What the algorithms have in common: loops over blocks of channels, tiles and panels, and which tiles hang over an edge
of the picture. They add the routines that are called.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nn512.cgen.code import Routine
from nn512.cgen.expressions import ZERO, Constant, Expression, Name, extent
from nn512.cgen.writer import Writer
from nn512.ir import ConvOp
from nn512.kernels.bodies import StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.interface import Context
from nn512.kernels.layer import write_segments
from nn512.kernels.tile_cut import TileVariant
from nn512.plan.layout import LANES

Cell = Callable[[Expression, Expression], Expression]
"""Where a vector of factors, or half a one of pairs, or one of products is: by its position and its number there."""

PANEL_BLOCKS = 2
"""Blocks of outputs that are summed in registers at a time."""

PREFETCHED_PART = 8
"""What part of the level 1 cache weights are fetched ahead: a whole panel of 32 to 64 KiB would drive out other data.

F(2x4) on 512 channels at 7x7 takes 1,058 us at 4 of 32 KiB, and 1,422 us a panel ahead (Zen 4).
"""

Call = tuple[str, list[Expression]]
"""A routine and its arguments."""


CHANNEL_LANES = Routine(
    "channel_lanes",
    """
/* The lanes of a block that hold channels; each segment of channels begins a new block. */
static __mmask16 channel_lanes(const ptrdiff_t *segments, ptrdiff_t block) {
    for (; block >= (*segments + 15) / 16; segments++) block -= (*segments + 15) / 16;
    const ptrdiff_t rest = *segments - block * 16;
    return rest < 16 ? (__mmask16)((1u << rest) - 1) : 0xffff;
}
""",
)


@dataclass(frozen=True, slots=True)
class Panel:
    """Where products are summed: one position, or pair of positions, of one group, and some blocks of outputs of it."""

    group: Expression
    position: Expression
    block: Expression
    width: int
    tiles: Expression


class TileParts(ABC):
    """The text of the three parts of one layer."""

    POSITION = "position"
    """What the products that are computed together are called: those of a position, or of a pair."""

    def __init__(self, op: ConvOp, context: Context, variant: TileVariant[Any]) -> None:
        self.context = context
        self.op = op
        self.variant = variant
        self.name = op.name
        self.node = op.node
        self.cut = variant.cut(op, context.setting)
        self.grid = self.cut.grid
        self.prologue = ChainCode(op.prologue)
        branch = op.branches[0]
        self.folded = branch.folded
        self.chain = ChainCode(branch.epilogue, shared=context.shares(self.name))
        self.source = context.places[op.prepared if op.prologue else op.source]
        self.result = context.places[branch.writes]
        self.element = variant.stored.element

    @property
    def group(self) -> Expression:
        """The group that an item belongs to."""
        return Name("group") if self.node.groups > 1 else ZERO

    @property
    def _source_blocks(self) -> int:
        """Blocks of the source that a group reads."""
        return self.cut.input_blocks // self.cut.tile.phases

    @property
    def ahead(self) -> Constant:
        """How far ahead weights are fetched, in floats."""
        cache = self.context.setting.graph.config.l1_data_cache_per_thread
        return Constant(max(LANES, cache // PREFETCHED_PART // 64 * LANES))

    # ---- What an algorithm adds

    @property
    def products(self) -> int:
        """Positions, or pairs of them, whose products are computed together."""
        return self.cut.tile.positions

    @abstractmethod
    def input_calls(
        self, source: Name, index: tuple[Expression, Expression, Expression], place: list[Expression], lanes: Expression
    ) -> list[Call]:
        """What transforms a tile: a block of channels from row y and column x on, to `place`.

        Of two calls, the first is for tiles inside the picture.
        """

    @abstractmethod
    def write_panel(self, writer: Writer, function: StepFunction, factors: Cell, products: Cell, panel: Panel) -> None:
        """Write the calls for one panel: the weights meet the tiles in one pass or more."""

    @abstractmethod
    def add_results(self) -> str:
        """The name of the routine that transforms products into results, which is in the library then."""

    def write_inputs(
        self,
        writer: Writer,
        function: StepFunction,
        factors: Cell,
        first: Expression,
        tiles: Expression,
        *,
        shared: bool = False,
    ) -> None:
        """Write what transforms tiles from `first` on: of all blocks of channels, or of a thread's share."""
        block, n, y, x = (Name(name) for name in ("block", "n", "y", "x"))
        lanes = self._write_lanes(writer)
        low, high = ("share.first", "share.last") if shared else ("0", str(self._source_blocks))
        phases = self.cut.tile.phases
        with writer.block(f"for (ptrdiff_t block = {low}; block < {high}; block++)"):
            if lanes is not None:
                writer.line(f"const __mmask16 lanes = {lanes};")
            tile_loop = writer.block(f"for (ptrdiff_t n = 0; n < {tiles}; n++)")
            with tile_loop, contextlib.ExitStack() as loops:
                down, across = self._write_tile(writer, first + n)
                writer.line(f"const ptrdiff_t y = {self._origin(0, down)}, x = {self._origin(1, across)};")
                slot = block * phases + Name("phase") if phases > 1 else block
                place = [
                    factors(ZERO, slot * self.cut.block_tiles + n),
                    extent(self.cut.factor_row, LANES),
                ]
                mask = Name("lanes" if lanes is not None else "0xffff")
                calls = self.input_calls(
                    function.tensor(self.source), (self.group * self._source_blocks + block, y, x), place, mask
                )
                if phases > 1:
                    loops.enter_context(writer.loop(f"for (ptrdiff_t phase = 0; phase < {phases}; phase++)"))
                if len(calls) == 2:
                    writer.line(f"if ({self._inside(masked=lanes is not None)})")
                for number, (name, arguments) in enumerate(calls):
                    if number:
                        writer.line("else")
                    with writer.indented() if len(calls) == 2 else contextlib.nullcontext():
                        writer.statement(name, arguments, ";")

    def _write_tile(self, writer: Writer, number: Expression) -> tuple[Expression, Expression]:
        """Write what a tile's number is; its row and column in the grid."""
        across = self.grid.columns.count
        if not isinstance(number, Name):
            writer.line(f"const ptrdiff_t tile = {number};")
            number = Name("tile")
        return number // across if self.grid.rows.count > 1 else ZERO, number % across

    def _origin(self, number: int, tile: Expression) -> Expression:
        """The row, or the column, of the picture where a tile begins."""
        side = (self.grid.rows, self.grid.columns)[number]
        return tile * (side.outputs * side.axis.stride) - side.axis.before

    def _inside(self, *, masked: bool) -> str:
        """The condition that a tile's window is in the picture as a whole, and that all lanes hold channels."""
        conditions = []
        for name, axis in (("y", self.grid.rows), ("x", self.grid.columns)):
            if axis.inside.start > 0:
                conditions.append(f"{name} >= 0")
            if axis.inside.stop < axis.count:
                conditions.append(f"{name} <= {axis.axis.size - axis.window}")
        return " && ".join([*conditions, *(["lanes == 0xffff"] if masked else [])])

    @property
    def has_inner(self) -> bool:
        """Whether tiles inside the picture have a routine of their own."""
        return self.grid.inside > 0

    @property
    def clips(self) -> bool:
        """Whether some tile hangs over an edge of the picture, or some block has lanes without a channel."""
        return self.grid.inside < self.grid.count or self._partial

    @property
    def _partial(self) -> bool:
        return any(segment % LANES for segment in self.source.layout.segments)

    def _write_lanes(self, writer: Writer) -> str | None:
        """Write the lanes of blocks that hold channels, where that is not all; those of `block`."""
        if not self._partial:
            return None
        layout = self.source.layout
        if layout.regular:
            mask = f"0x{(1 << layout.channels % LANES) - 1:04x}"
            last = layout.block_count - 1
            return f"block == {last} ? {mask} : 0xffff" if last else mask
        write_segments(writer, layout)
        return f"{self.context.library.use(CHANNEL_LANES)}(segments, block)"

    @property
    def panel_blocks(self) -> int:
        """Output blocks that are summed together."""
        return min(PANEL_BLOCKS, self.cut.output_blocks)

    def panels(self) -> Iterator[tuple[int, int]]:
        """Panels of a group: output blocks of each, and how many."""
        whole, rest = divmod(self.cut.output_blocks, self.panel_blocks)
        if whole:
            yield self.panel_blocks, whole
        if rest:
            yield rest, 1

    def sizes(self, longest: int) -> tuple[int, ...]:
        """Tiles that are summed together, up to `longest`, for every block of tiles that occurs."""
        sizes = {self.cut.block_tiles, self.grid.count // self.cut.tile_blocks}
        return tuple(sorted({piece for size in sizes for piece in even(size, longest)}, reverse=True))

    def scales(self, function: StepFunction, position: Expression, block: Expression) -> list[Expression]:
        """The pointer to what halves are multiplied by, for blocks from `block` on of all groups; none for floats."""
        if not self.variant.stored.scaled:
            return []
        lanes = extent(self.node.groups * self.cut.output_blocks, LANES)
        return [function.array_of(self.node, "Scales") + position * lanes + block * LANES]

    def write_products(
        self,
        writer: Writer,
        function: StepFunction,
        factors: Cell,
        products: Cell,
        tiles: Expression,
        block: Expression | None = None,
    ) -> None:
        """Write what multiplies at a position: all panels of a group, or the one that begins at `block`."""
        start = 0
        panels = list(self.panels())
        for number, (width, times) in enumerate(panels):
            here: Expression = Constant(start)
            scope: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
            end = start + width * times
            if block is not None:
                here = block
                if len(panels) > 1:
                    condition = f"if (block < {end})" if number == 0 else "else"
                    scope = writer.block(condition)
            elif times > 1:
                step = "block++" if width == 1 else f"block += {width}"
                scope = writer.block(f"for (ptrdiff_t block = {start}; block < {end}; {step})")
                here = Name("block")
            with scope:
                panel = Panel(self.group, Name(self.POSITION), here, width, tiles)
                self.write_panel(writer, function, factors, products, panel)
            start = end

    def write_passes(self, writer: Writer, tiles: Expression, most: int, write: Callable[[int, int], None]) -> None:
        """Write passes over all tiles of a block: `write` writes one for so many tiles from a first one on."""

        def write_all(count: int) -> None:
            begin = 0
            for size in even(count, most):
                write(size, begin)
                begin += size

        if isinstance(tiles, Constant):
            write_all(tiles.number)
            return
        smaller = self.grid.count // self.cut.tile_blocks
        with writer.block(f"if (tiles == {smaller + 1})"):
            write_all(smaller + 1)
        with writer.block("else"):
            write_all(smaller)

    def write_results(
        self,
        writer: Writer,
        function: StepFunction,
        products: Cell,
        first: Expression,
        tiles: Expression,
        *,
        shared: bool = False,
    ) -> None:
        """Write what transforms products into results: of all blocks of outputs, or of a thread's share."""
        rows, columns = self.grid.rows, self.grid.columns
        shape = self.result.shape
        block, n, y, x = (Name(name) for name in ("block", "n", "y", "x"))
        low, high = ("share.first", "share.last") if shared else ("0", str(self.cut.output_blocks))
        name = self.add_results()
        with (
            writer.block(f"for (ptrdiff_t block = {low}; block < {high}; block++)"),
            writer.block(f"for (ptrdiff_t n = 0; n < {tiles}; n++)"),
        ):
            down, across = self._write_tile(writer, first + n)
            writer.line(f"const ptrdiff_t y = {down * rows.outputs}, x = {across * columns.outputs};")
            whole = self.group * self.cut.output_blocks + block
            ragged = [Constant(shape.height) - y, Constant(shape.width) - x] if self.grid.ragged else []
            arguments = [
                products(ZERO, block * self.cut.block_tiles + n),
                extent(self.cut.product_row, LANES),
                function.biases_of(self.node) + whole * LANES,
                function.tensor(self.result).at(whole, y, x),
                extent(shape.width, LANES),
                *ragged,
                *self.chain.arguments(whole, y, x),
            ]
            writer.statement(name, arguments, ";")


def even(count: int, most: int) -> list[int]:
    """`count` as a sum of as few numbers up to `most` as it takes, which differ by one at most."""
    pieces = -(-count // most)
    size, larger = divmod(count, pieces)
    return [size + (number < larger) for number in range(pieces)]
