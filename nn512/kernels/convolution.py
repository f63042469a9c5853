"""Direct convolution: any filter, stride, padding, dilation and groups.

A panel of one or two blocks of outputs stays in registers for a tile of neighbouring pixels of one row, while the loops
run over input channels and taps. Taps that fall on padding are skipped: above and below by the bounds of the tap loop,
left and right because each tile at an edge has a routine of its own in which such taps leave out the pixels concerned.
A 1x1 filter without stride and padding sees the picture as one row of height * width pixels. Groups that are not made
of whole blocks share output blocks; their lanes are masked.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from nn512.cgen.code import LayerCode
from nn512.cgen.expressions import ZERO, Conditional, Constant, Expression, Less, Name, Product, extent, least
from nn512.cgen.writer import Writer, sentence
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body
from nn512.kernels.conv_blocking import EDGES, Branch, ConvBlocking, Panels
from nn512.kernels.conv_cost import direct_work, prepared_source
from nn512.kernels.conv_deciding import BLOCKED, PADDED, SHARED, Bordering, Fetching, Panelling, Stacking
from nn512.kernels.conv_tile import MASKED, UNFETCHED, Channels, TileRoutine
from nn512.kernels.deciding import Chaining, Packing, Pairing
from nn512.kernels.elementwise import Store, write_chain_step
from nn512.kernels.interface import Context, Kernel, Setting
from nn512.kernels.layer import write_segments
from nn512.kernels.packing import ROUTINES
from nn512.kernels.tiles import BFLOAT16, SIZES, add_operands, first_row, write_tap_bounds
from nn512.plan.conv_geometry import PixelTile
from nn512.plan.layout import LANES


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer: the tile routines it uses, its step functions and its packing."""
    return ConvLayer(op, context).emit()


class Refusing(Decision):
    """Why this kernel does not take a layer: a depthwise convolution may leave channels as its source has them."""

    SHUFFLED = "refused: results stay in the order before a shuffle"
    SEGMENTS = "refused: results stay in segments of channels"


def _refuses(op: ConvOp, setting: Setting) -> Refusing | None:
    if op.leaves_order:
        return Refusing.SHUFFLED
    in_order = all(setting.places[branch.writes].layout.regular for branch in op.branches)
    return None if in_order else Refusing.SEGMENTS


KERNEL = Kernel(
    "direct",
    ConvOp,
    direct_work,
    emit,
    _refuses,
    prepared_source,
    edges=EDGES,
    decisions=(
        *(*Refusing, *SHARED, *BLOCKED, *PADDED, Bordering.COLUMNS, Bordering.COPIED),
        *(Stacking.MASKED, Panelling.MASKED, Panelling.GROUPS, Fetching.FAR, Fetching.NEAR, Fetching.WALK),
        *(Packing.SHUFFLED, Packing.BEFORE, Chaining.FIRST, Pairing.RESULT, Body.VARYING),
    ),
    writes_pairs=True,
)


class Choice(NamedTuple):
    """A call: the condition under which it is made, what is called, for how many pixels, other arguments."""

    condition: str
    routine: TileRoutine
    pixels: int
    arguments: Sequence[Expression]


class ConvLayer(ConvBlocking):
    """The text of one layer."""

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        if self.stores_pairs:
            self.context.library.use(BFLOAT16)
        writer = Writer()
        self.write_steps(writer)
        chains = [(branch.chain, branch.result) for branch in self.branches]
        chains += [(self.prologue, self.given)]
        fields = [f for branch in self.branches for f in branch.weights.fields()]
        fields += [f for chain, place in chains for f in chain.fields(place.layout)]
        packs = [branch.weights.pack() for branch in self.branches]
        packs += [call for chain, place in chains for call in chain.packs(place.layout)]
        return LayerCode(
            name=self.name,
            algorithm=self.algorithm(),
            steps=self.steps(),
            text=writer.text(),
            arrays=tuple(fields),
            packs=tuple(packs),
            edge_classes=tuple(sorted(self.edge_classes())),
        )

    def write_steps(self, writer: Writer) -> None:
        """Write the step functions."""
        if self.fills_scratch:
            writer.lines(self.first_step())
            writer.line()
        self.body.write(writer, self.body.hint("conv"), self.body.description(self._how()), self.write_body)

    def first_step(self) -> str:
        """Text of the step that fills the scratch memory."""
        return write_chain_step(self.context, self.given, self.source, self.prologue, self.store())

    def store(self) -> Store | None:
        """How the first step stores what it computes; None for floats as they are."""
        return None

    def _how(self) -> str:
        """The algorithm, and what the items are, for the comment of a shared body."""
        rows = "rows" if self.row_groups[0].tile.size == 1 else "tiles of rows"
        items = "tiles" if self.row_tiles == 1 else rows
        if not self.by_pixels and sum(panels.count for panels in self.branches[0].panels) > 1:
            items = "panels" if self.row_tiles == 1 else f"{rows} of panels"
        return f"a share of the {items}. {sentence(self.algorithm())}"

    def write_body(self, writer: Writer) -> None:
        """Write the sizes and the loops of the main step."""
        self.write_sizes(writer)
        begin = 0
        for branch in self.branches:
            for panels in branch.panels:
                if self.by_pixels:
                    self._write_pixels(writer, branch, panels)
                else:
                    begin = self._write_panels(writer, branch, panels, begin)

    def weights(self, branch: Branch, block: Expression) -> tuple[Expression, Expression]:
        """Where the weights and the biases of a block of outputs begin."""
        node = branch.weights.node
        weights, biases = self.body.weights_of(node), self.body.biases_of(node)
        if block == ZERO:
            return weights, biases
        return weights + block * self.block_extent(branch), biases + Product((block, Constant(LANES)))

    def _weights_named(self, branch: Branch, block: Expression) -> tuple[Expression, Expression]:
        """What these places are called in calls."""
        at_start = self.body.sharing and block == ZERO  # where parameters of the body point
        return self.weights(branch, block) if at_start else (Name("w"), Name("bias"))

    def block_extent(self, branch: Branch) -> Expression:
        """Floats of the weights of a block of outputs."""
        return Name("channels") * LANES if self.body.varying else branch.weights.block_extent

    def write_sizes(self, writer: Writer) -> None:
        """Write the sizes that tile routines read; they are the same in every call."""
        used: dict[str, None] = {}
        for branch in self.branches:
            for panels in branch.panels:
                for tile, group in itertools.product(self.tiles, self.row_groups):
                    used |= dict.fromkeys(self.routine(branch, panels, tile, group.tile).sizes())
        if "segments" in used:
            write_segments(writer, self.source.layout)
        if self.channels is Channels.SCATTERED_GROUPS:
            self.context.library.use(ROUTINES["position"])
        sizes = self._sizes()
        storage = "" if self.body.varying else "static "
        fields = [f".{name} = {sizes[name]}" for name in used]
        writer.enumeration(f"{storage}const Sizes sizes = {{", fields, "};")

    def write_call(self, writer: Writer, choices: Iterable[Choice]) -> None:
        """Write a call of the first routine whose condition holds; that of the last one is empty."""
        library = self.context.library
        for number, choice in enumerate(choices):
            add_operands(library, prefetching=choice.routine.prefetches)
            name = library.add(choice.routine.hint, choice.routine.write, choice.routine)
            condition = f"if ({choice.condition})" if choice.condition else ""
            opening = " ".join(filter(None, ("else" if number else "", condition)))
            with writer.loop(opening) if opening else contextlib.nullcontext():
                pixels = [Constant(choice.pixels)] if choice.routine.rows == 1 else []
                writer.statement(name, [*choice.arguments, f"&{SIZES}", *pixels], ";")

    def _sizes(self) -> dict[str, Expression]:
        """The layer's sizes under the names that tile routines have for them; distances are in floats."""
        width, lanes = self.source.shape.width, self.source.layout.lanes
        result = self.branches[0].result.shape  # all branches agree in height and width
        together = self.channels is Channels.PLANAR and lanes > 1  # the channels of a pixel
        channels = 16 * self.source.layout.block_count if self.channels is Channels.TABLE else self.inputs
        return {
            "channels": Name("channels") if self.body.varying else Constant(channels),
            "groups": Constant(self.node.groups),
            "outputs": Constant(self.node.to_channels // self.node.groups),
            "inputPlane": Constant(1) if together else extent(self.source.shape.height, width, lanes),
            "inputRow": extent(width, lanes),
            "bufferPlane": extent(self.tiles[0].size, 16),
            "outputPlane": extent(result.height, result.width, 16),
            "prefetchShares": Constant(self.shares),
            "prefetchPixels": self.prefetched_pixels,
            "segments": Name("segments"),
        }

    def _write_panels(self, writer: Writer, branch: Branch, panels: Panels, begin: int) -> int:
        """Write the loop over the items of some panels; `begin` is the first one's number. Returns the end."""
        rows, several = self.row_tiles, panels.count > 1
        end = begin + panels.count * rows
        start = f"share.first < {begin} ? {begin} : share.first" if begin else "share.first"
        item = "item"
        if not begin and several and rows == panels.width == 1:
            item = "block"
        elif not begin and not several and rows > 1:
            item = self._row_tile
        stop = f"{item} < share.last && {item} < {end}" if end < self.items else f"{item} < share.last"
        with writer.block(f"for (ptrdiff_t {item} = {start}; {stop}; {item}++)"):
            number = Name(item) - begin
            block = Name("block") if several else Constant(panels.first_block)
            indices = []
            if several and item == "item":
                indices.append(f"block = {number // rows * panels.width}")
            if rows > 1:
                indices += self._row_indices(number % rows if several else number, declared=item)
            self._write_indices(writer, branch, panels, indices)
            self._write_weights(writer, branch, block)
            self._write_calls(writer, branch, panels, block)
        return end

    def _write_pixels(self, writer: Writer, branch: Branch, panels: Panels) -> None:
        """Write the loops over some panels and, for each of them, over the items, which are tiles of pixels."""
        start, end = panels.first_block, panels.first_block + panels.count * panels.width
        block: Expression = Constant(start)
        scope: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if panels.count > 1:
            scope = writer.block(f"for (ptrdiff_t block = {start}; block < {end}; block += {panels.width})")
            block = Name("block")
        elif self.panel_count > 1:
            scope = writer.block()
        with scope:
            self._write_weights(writer, branch, block)
            if self.row_tiles == 1:
                self._write_indices(writer, branch, panels, [])
                self._write_tiles(writer, branch, panels, block)
                return
            t = self._row_tile
            with writer.block(f"for (ptrdiff_t {t} = share.first; {t} < share.last; {t}++)"):
                self._write_indices(writer, branch, panels, self._row_indices(Name(t), declared=t))
                self._write_calls(writer, branch, panels, block)

    def _write_tiles(self, writer: Writer, branch: Branch, panels: Panels, block: Expression) -> None:
        """Write the loop over the tiles of the only row."""
        column = Name("x")
        choices = [
            Choice(condition, routine, pixels, self._arguments(branch, panels, block, column, routine))
            for condition, routine, pixels in self.by_tile(branch, panels)
        ]
        if len(self.repeats) == 1:
            size = self.tiles[0].size
            with writer.loop(f"for (ptrdiff_t x = share.first * {size}; x < share.last * {size}; x += {size})"):
                self.write_call(writer, choices)
            return
        with writer.block("for (ptrdiff_t tile = share.first; tile < share.last; tile++)"):
            writer.line(f"const ptrdiff_t x = {self.first_pixel()};")
            self.write_call(writer, choices)

    def first_pixel(self) -> Expression:
        """Where a tile of the only row begins."""
        tile, wide = Name("tile"), self._wide_tiles
        start = tile * self.tiles[-1].size
        return start + least(tile, wide) if wide else start

    def by_tile(self, branch: Branch, panels: Panels) -> list[tuple[str, TileRoutine, int]]:
        """The routines for a tile of the only row, each with the condition under which it is the one, and pixels."""
        wide, narrow = self.tiles[0], self.tiles[-1]
        conditions = [(f"tile < {self._wide_tiles}", wide), ("", narrow)] if self._wide_tiles else [("", narrow)]
        row = self.row_groups[0].tile
        return [(condition, self.routine(branch, panels, tile, row), tile.size) for condition, tile in conditions]

    @property
    def _wide_tiles(self) -> int:
        """How many tiles, the first ones, are a pixel wider than the others."""
        return sum(times for tile, times in self.repeats if tile.size > self.tiles[-1].size)

    @property
    def _row_tile(self) -> str:
        """The name of a row tile's number: that of the row where it has one row."""
        return "y" if self.row_groups[0].tile.size == 1 else "t"

    def _write_indices(self, writer: Writer, branch: Branch, panels: Panels, indices: list[str]) -> None:
        """Write what follows from an item's number: `indices`, and which weights to fetch ahead."""
        if self.channels not in UNFETCHED:
            indices = [*indices, f"nextWeights = {self._next_weights(branch, panels)}"]
        if indices:
            writer.enumeration("const ptrdiff_t ", indices, ";")

    def _write_weights(self, writer: Writer, branch: Branch, block: Expression) -> None:
        """Write where the weights and biases of a block begin, unless that is where parameters of the body point."""
        if self._weights_named(branch, block) == self.weights(branch, block):
            return
        weights, biases = map(str, self.weights(branch, block))
        if len(weights) + len(biases) <= 84:  # both on one line
            writer.line(f"const float *w = {weights}, *bias = {biases};")
        else:
            writer.assign("const float *w", weights)
            writer.assign("const float *bias", biases)

    def _row_indices(self, number: Expression, *, declared: str) -> list[str]:
        """Definitions of t, the row tile with this number, and of y, its first row; but of neither if `declared`."""
        widest, narrowest = self.row_groups[0].tile.size, self.row_groups[-1].tile.size
        if len(self.row_groups) == 1 and widest == 1:
            return [] if declared == "y" else [f"y = {number}"]
        wide = sum(group.times for group in self.row_groups if group.tile.size == widest)
        t = Name("t")
        row = t * narrowest
        if widest != narrowest:
            row += least(t, wide)
        return [*([] if declared == "t" else [f"t = {number}"]), f"y = {row}"]

    def _write_rows(self, writer: Writer) -> None:
        """Write which filter rows are inside the picture."""
        row = ZERO if self.row_tiles == 1 else Name("y") * self.rows.stride
        writer.line(f"const ptrdiff_t origin = {row - self.rows.before}; /* the input row under filter row 0 */")
        write_tap_bounds(writer, self.rows)
        if self.blind:
            row = Conditional(Less(Name("top"), Name("bottom")), first_row(self.rows), ZERO)
            writer.line(f"const ptrdiff_t topRow = {row}; /* nothing is read if no filter row is inside */")

    def _write_calls(self, writer: Writer, branch: Branch, panels: Panels, block: Expression) -> None:
        """Write the calls for all tiles of a row."""
        if self.clipped:
            self._write_rows(writer)
        start = 0
        for tile, count in self.repeats:
            loop = f"for (ptrdiff_t x = {start}; x < {start + count * tile.size}; x += {tile.size})"
            with writer.loop(loop) if count > 1 else contextlib.nullcontext():
                column = Name("x") if count > 1 else Constant(start)
                choices = (
                    Choice(condition, routine, tile.size, self._arguments(branch, panels, block, column, routine))
                    for condition, routine in self._by_row(branch, panels, tile)
                )
                self.write_call(writer, choices)
            start += count * tile.size

    def _arguments(
        self, branch: Branch, panels: Panels, block: Expression, column: Expression, routine: TileRoutine
    ) -> list[Expression]:
        """What changes from call to call, for the tile that begins at an output column."""
        pixel = (column,) if self.flat else (Name("y") if self.row_tiles > 1 else ZERO, column)
        return [
            self._source(block, column, routine),
            *self._weights_named(branch, block),
            self.body.result_at(branch.result, block, *pixel),
            *branch.chain.arguments(block, *pixel),
            *([Name("top"), Name("bottom")] if self.clipped else []),
            *([block * LANES] if self.channels in MASKED else []),
            *([self.next_weights(Name("nextWeights"), panels, column)] if self.channels not in UNFETCHED else []),
        ]

    def _by_row(self, branch: Branch, panels: Panels, tile: PixelTile) -> Iterator[tuple[str, TileRoutine]]:
        """The routines for row tile t, each with the condition under which it is the one."""
        end = 0
        groups = itertools.groupby(self.row_groups, lambda group: self.routine(branch, panels, tile, group.tile))
        for routine, members in groups:
            end += sum(group.times for group in members)
            yield f"t < {end}" if end < self.row_tiles else "", routine

    def _next_weights(self, branch: Branch, panels: Panels) -> Expression:
        """Which weights a tile fetches: its share of those of the next panel, or of what follows the last one."""
        size = Constant(panels.width) * self.block_extent(branch)
        if self.row_tiles == 1:
            return size
        tile = Name("t" if len(self.row_groups) > 1 or self.row_groups[0].tile.size > 1 else "y")
        return size + tile * (16 * self.share(panels.width))

    def next_weights(self, start: Expression, panels: Panels, column: Expression) -> Expression:
        """The same for the tile that begins at an output column, where the row is the only one."""
        if self.row_tiles > 1:
            return start
        return start + column * (16 * panels.width) // self.columns.out * 16

    def _source(self, block: Expression, column: Expression, routine: TileRoutine) -> Expression:
        """The first input inside the picture that a tile reads."""
        blocks: Expression = ZERO
        if self.node.groups > 1 and self.channels not in MASKED:
            outputs, inputs = self.node.to_channels // self.node.groups // 16, self.inputs // 16
            blocks = block // outputs * inputs
        tensor = self.body.tensor(self.source).at(blocks)
        if not self.flat:
            tensor = tensor.at(self._source_row(routine))
        place: Expression = ZERO
        if routine.runs:
            place = column * self.columns.stride + (routine.first_column - self.columns.before)
        return tensor.offset(place) if self.source.layout.lanes == 1 else tensor.at(place)

    def _source_row(self, routine: TileRoutine) -> Expression:
        """The row of the first input inside the picture that a tile reads."""
        if self.clipped:
            return Name("topRow") if self.blind else first_row(self.rows)
        row = ZERO if self.row_tiles == 1 else Name("y") * self.rows.stride
        return row + (routine.first_row - self.rows.before)
