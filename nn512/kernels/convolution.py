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
from collections.abc import Iterable, Iterator

from nn512.cgen import names
from nn512.cgen.expressions import element, minus, offset_from
from nn512.cgen.writer import Writer, sentence
from nn512.kernels.conv_blocking import Branch, ConvBlocking, Panels
from nn512.kernels.conv_cost import direct_work
from nn512.kernels.conv_tile import MASKED, UNFETCHED, Channels, TileRoutine
from nn512.kernels.elementwise import write_chain_step
from nn512.kernels.layer import Context, ConvKernel, LayerCode, write_segments
from nn512.kernels.packing import POSITION
from nn512.passes.program import ConvOp
from nn512.plan.conv_geometry import PixelTile
from nn512.plan.layout import LANES


def emit(op: ConvOp, context: Context) -> LayerCode:
    """One layer: the tile routines it uses, its step functions and its packing."""
    return ConvLayer(op, context).emit()


KERNEL = ConvKernel("direct", lambda _op, _context: True, direct_work, emit)


class ConvLayer(ConvBlocking):
    """The text of one layer."""

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        writer = Writer()
        self.write_steps(writer)
        chains = [(branch.chain, branch.result) for branch in self.branches]
        chains += [(self.prologue, self.source)]
        fields = [f for branch in self.branches for f in branch.weights.fields()]
        fields += [f for chain, place in chains for f in chain.fields(place.layout)]
        packs = [branch.weights.pack() for branch in self.branches]
        packs += [call for chain, place in chains for call in chain.packs(place.layout)]
        return LayerCode(
            name=self.name,
            kernel=self.kernel,
            algorithm=self.algorithm(),
            steps=self.steps(),
            code=writer.text(),
            fields=tuple(fields),
            packs=tuple(packs),
            edge_classes=tuple(sorted(self.edge_classes())),
        )

    def write_steps(self, writer: Writer) -> None:
        """Write the step functions."""
        if self.fills_scratch:
            source = self.context.places[self.op.source]
            writer.lines(write_chain_step(self.context, source, self.source, self.prologue))
            writer.line()
        self.body.write(writer, self.body.hint("conv"), self.body.description(self._how()), self.write_body)

    def _how(self) -> str:
        """The algorithm, and what the items are, for the comment of a shared body."""
        rows = "rows" if self.row_groups[0].tile.size == 1 else "tiles of rows"
        items = "tiles" if self.row_tiles == 1 else rows
        if not self.by_pixels and sum(panels.count for panels in self.branches[0].panels) > 1:
            items = "panels" if self.row_tiles == 1 else f"{rows} of panels"
        return f"{items} first to last-1. {sentence(self.algorithm())}"

    def write_body(self, writer: Writer) -> None:
        """Write the constants and the loops of the main step."""
        self.write_constants(writer)
        begin = 0
        for branch in self.branches:
            for panels in branch.panels:
                if self.by_pixels:
                    self._write_pixels(writer, branch, panels)
                else:
                    begin = self._write_panels(writer, branch, panels, begin)

    def weights(self, branch: Branch, block: str) -> tuple[str, str]:
        """Where the weights and the biases of a block of outputs begin."""
        node, extent = branch.weights.node, self.block_extent(branch)
        at = "" if block == "0" else f" + {block} * {f'({extent})' if '*' in extent else extent}"
        return f"{self.body.weights_of(node)}{at}", element(self.body.biases_of(node), block, 16)

    def _weights_named(self, branch: Branch, block: str) -> tuple[str, str]:
        """What these places are called in calls."""
        weights, biases = self.weights(branch, block)
        return (weights, biases) if weights.isidentifier() else ("w", "bias")

    def block_extent(self, branch: Branch) -> str:
        """Floats of the weights of a block of outputs."""
        return f"channels * {LANES}" if self.body.varying else branch.weights.block_extent

    def write_constants(self, writer: Writer) -> None:
        """Write what is the same in every call of a tile routine, under the names that the routines have for it."""
        names_used: dict[str, None] = {}
        for branch in self.branches:
            for panels in branch.panels:
                for tile, group in itertools.product(self.tiles, self.row_groups):
                    names_used |= dict.fromkeys(self.routine(branch, panels, tile, group.tile).constants())
        constants = self._constants()
        if self.body.varying:  # a parameter
            del constants["channels"]
        writer.enumeration("const ptrdiff_t ", [f"{n} = {constants[n]}" for n in names_used if n in constants], ";")
        if "segments" in names_used:
            write_segments(writer, self.source.layout)
        if self.channels is Channels.SCATTERED_GROUPS:
            self.context.library.add("position", lambda _: POSITION)

    def write_call(self, writer: Writer, choices: Iterable[tuple[str, TileRoutine]], arguments: list[str]) -> None:
        """Write a call of the first routine whose condition holds; that of the last one is empty."""
        for number, (condition, routine) in enumerate(choices):
            shared = self.context.library.add(routine.hint, routine.write)
            fetched = "fetched" if self.fetched else str(self.share(routine.blocks))
            constants = (fetched if name == "fetched" else name for name in routine.constants())
            opening = " ".join([*(["else"] if number else []), *([f"if ({condition})"] if condition else [])])
            with writer.loop(opening) if opening else contextlib.nullcontext():
                writer.statement(shared, [*arguments, *constants], ";")

    def _constants(self) -> dict[str, str]:
        """The layer's constants under the names that tile routines have for them; distances are in floats."""
        width, lanes = self.source.shape.width, self.source.layout.lanes
        result = self.branches[0].result.shape  # all branches agree in height and width
        channels = 16 * self.source.layout.block_count if self.channels is Channels.TABLE else self.inputs
        return {
            "channels": str(channels),
            "groups": str(self.node.groups),
            "inputs": str(self.inputs),
            "outputs": str(self.node.to_channels // self.node.groups),
            "plane": self.plane,
            "row": names.product(self.rows.dilation, width, lanes),
            "down": names.product(self.rows.stride, width, lanes),
            "height": str(self.rows.size),
            "outPlane": names.product(result.height, result.width, 16),
            "xPlane": super().plane,
            "soon": self.soon,
            **({"fetched": self.fetched} if self.fetched else {}),
        }

    def _write_panels(self, writer: Writer, branch: Branch, panels: Panels, begin: int) -> int:
        """Write the loop over the items of some panels; `begin` is the first one's number. Returns the end."""
        rows, several = self.row_tiles, panels.count > 1
        end = begin + panels.count * rows
        start = f"first < {begin} ? {begin} : first" if begin else "first"
        item = "item"
        if not begin and several and rows == panels.width == 1:
            item = "block"
        elif not begin and not several and rows > 1:
            item = self._row_tile
        stop = f"{item} < last && {item} < {end}" if end < self.items else f"{item} < last"
        with writer.block(f"for (ptrdiff_t {item} = {start}; {stop}; {item}++)"):
            number = minus(item, begin)
            block = "block" if several else str(panels.first_block)
            indices = []
            if several and item == "item":
                panel = f"{number} / {rows}" if rows > 1 else number
                indices.append(f"block = {panel}{f' * {panels.width}' if panels.width > 1 else ''}")
            if rows > 1:
                row = f"{number} % {rows}" if several else number.strip("()")
                indices += self._row_indices(row, declared=item)
            self._write_indices(writer, branch, panels, indices)
            self._write_weights(writer, branch, block)
            self._write_calls(writer, branch, panels, block)
        return end

    def _write_pixels(self, writer: Writer, branch: Branch, panels: Panels) -> None:
        """Write the loops over some panels and, for each of them, over the items, which are tiles of pixels."""
        block, end = str(panels.first_block), panels.first_block + panels.count * panels.width
        scope: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if panels.count > 1:
            scope = writer.block(f"for (ptrdiff_t block = {block}; block < {end}; block += {panels.width})")
            block = "block"
        elif self.panel_count > 1:
            scope = writer.block()
        with scope:
            self._write_weights(writer, branch, block)
            if self.row_tiles == 1:
                self._write_indices(writer, branch, panels, [])
                self._write_tiles(writer, branch, panels, block)
                return
            t = self._row_tile
            with writer.block(f"for (ptrdiff_t {t} = first; {t} < last; {t}++)"):
                self._write_indices(writer, branch, panels, self._row_indices(t, declared=t))
                self._write_calls(writer, branch, panels, block)

    def _write_tiles(self, writer: Writer, branch: Branch, panels: Panels, block: str) -> None:
        """Write the loop over the tiles of the only row."""
        call = self.by_tile(branch, panels), self._arguments(branch, panels, block, "x")
        if len(self.repeats) == 1:
            size = self.tiles[0].size
            with writer.loop(f"for (ptrdiff_t x = first * {size}; x < last * {size}; x += {size})"):
                self.write_call(writer, *call)
            return
        with writer.block("for (ptrdiff_t tile = first; tile < last; tile++)"):
            writer.line(f"const ptrdiff_t x = {self.first_pixel()};")
            self.write_call(writer, *call)

    def first_pixel(self) -> str:
        """Where a tile of the only row begins."""
        wide, size = self._wide_tiles, self.tiles[-1].size
        return f"tile * {size}{f' + (tile < {wide} ? tile : {wide})' if wide else ''}"

    def by_tile(self, branch: Branch, panels: Panels) -> list[tuple[str, TileRoutine]]:
        """The routines for a tile of the only row, each with the condition under which it is the one."""
        row = self.row_groups[0].tile
        choices = [("", self.routine(branch, panels, self.tiles[-1], row))]
        if wide := self._wide_tiles:
            choices.insert(0, (f"tile < {wide}", self.routine(branch, panels, self.tiles[0], row)))
        return choices

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
            indices = [*indices, f"ahead = {self._ahead(branch, panels)}"]
        if indices:
            writer.enumeration("const ptrdiff_t ", indices, ";")

    def _write_weights(self, writer: Writer, branch: Branch, block: str) -> None:
        """Write where the weights and biases of a block begin, unless that is where parameters of the body point."""
        weights, biases = self.weights(branch, block)
        if self._weights_named(branch, block) == (weights, biases):
            return
        if len(weights) + len(biases) <= 84:  # both on one line
            writer.line(f"const float *w = {weights}, *bias = {biases};")
        else:
            writer.assign("const float *w", weights)
            writer.assign("const float *bias", biases)

    def _row_indices(self, number: str, *, declared: str) -> list[str]:
        """Definitions of t, the row tile with this number, and of y, its first row; but of neither if `declared`."""
        widest, narrowest = self.row_groups[0].tile.size, self.row_groups[-1].tile.size
        if len(self.row_groups) == 1 and widest == 1:
            return [] if declared == "y" else [f"y = {number}"]
        wide = sum(group.times for group in self.row_groups if group.tile.size == widest)
        row = f"t * {narrowest}" if narrowest > 1 else "t"
        if widest != narrowest:
            row += f" + (t < {wide} ? t : {wide})"
        return [*([] if declared == "t" else [f"t = {number}"]), f"y = {row}"]

    def _write_origin(self, writer: Writer) -> None:
        """Write the input row under filter row 0, and where it begins, in floats from the top of the picture."""
        axis, width = self.rows, names.product(self.source.shape.width, self.source.layout.lanes)
        row = "0" if self.row_tiles == 1 else f"y * {axis.stride}" if axis.stride > 1 else "y"
        row += f" - {axis.padding}" if axis.padding else ""
        if row == "0":
            writer.line("const ptrdiff_t at = 0;")
        elif self.clipped:
            note = " /* the row under filter row 0, its offset */"
            writer.line(f"const ptrdiff_t origin = {row}, at = origin * {width};{note}")
        else:
            factor = f"({row})" if " - " in row else row
            writer.line(f"const ptrdiff_t at = {factor} * {width}; /* where the row under filter row 0 begins */")

    def _write_calls(self, writer: Writer, branch: Branch, panels: Panels, block: str) -> None:
        """Write the calls for all tiles of a row."""
        if self.padded:
            self._write_origin(writer)
        start = 0
        for tile, count in self.repeats:
            loop = f"for (ptrdiff_t x = {start}; x < {start + count * tile.size}; x += {tile.size})"
            with writer.loop(loop) if count > 1 else contextlib.nullcontext():
                arguments = self._arguments(branch, panels, block, "x" if count > 1 else str(start))
                self.write_call(writer, self._by_row(branch, panels, tile), arguments)
            start += count * tile.size

    def _arguments(self, branch: Branch, panels: Panels, block: str, column: str) -> list[str]:
        """What changes from call to call, for the tile that begins at an output column."""
        row = "" if self.flat else "[y]" if self.row_tiles > 1 else "[0]"
        pixel = f"{row}[{column}]"
        return [
            self._source(block, column),
            *self._weights_named(branch, block),
            f"{self.body.tensor(branch.result)}[{block}]{pixel}",
            *branch.chain.arguments(block, pixel),
            *([self._across(column)] if self.padded else []),
            *(["origin"] if self.clipped else []),
            *([f"{block} * 16"] if self.channels in MASKED else []),
            *([self.ahead_of("ahead", panels, column)] if self.channels not in UNFETCHED else []),
        ]

    def _by_row(self, branch: Branch, panels: Panels, tile: PixelTile) -> Iterator[tuple[str, TileRoutine]]:
        """The routines for row tile t, each with the condition under which it is the one."""
        end = 0
        groups = itertools.groupby(self.row_groups, lambda group: self.routine(branch, panels, tile, group.tile))
        for routine, members in groups:
            end += sum(group.times for group in members)
            yield f"t < {end}" if end < self.row_tiles else "", routine

    def _ahead(self, branch: Branch, panels: Panels) -> str:
        """Which weights a tile fetches: its share of those of the next panel, or of what follows the last one."""
        extent = self.block_extent(branch)
        size = f"{panels.width} * {f'({extent})' if '*' in extent else extent}" if panels.width > 1 else extent
        if self.row_tiles == 1:
            return size
        tile = "t" if len(self.row_groups) > 1 or self.row_groups[0].tile.size > 1 else "y"
        return f"{size} + {tile} * {16 * self.share(panels.width)}"

    def ahead_of(self, ahead: str, panels: Panels, column: str) -> str:
        """The same for the tile that begins at an output column, where the row is the only one."""
        if self.row_tiles > 1 or column == "0":
            return ahead
        lines, width = 16 * panels.width, self.columns.out
        if column != "x":
            return f"{ahead} + {int(column) * lines // width * 16}"
        return f"{ahead} + x * {lines} / {width} * 16"

    def _source(self, block: str, column: str) -> str:
        """The first input pixel of a tile; in a padded picture the first pixel of all, as that one may lie outside."""
        blocks = "[0]"
        if self.node.groups > 1 and self.channels not in MASKED:
            outputs, inputs = self.node.to_channels // self.node.groups // 16, self.inputs // 16
            group = block if outputs == 1 else f"{block} / {outputs}"
            blocks = f"[{group}]" if inputs == 1 else f"[{group} * {inputs}]"
        tensor = f"{self.body.tensor(self.source)}{blocks}"
        planar = self.channels is Channels.PLANAR
        if self.padded:
            return f"{tensor}[0]" if planar else f"{tensor}[0][0]"
        rows = "[0]" if self.row_tiles == 1 else f"[{_strided('y', self.rows.stride)}]"
        row, moved = f"{tensor}{'' if self.flat else rows}", _strided(column, self.columns.stride)
        return offset_from(row, [moved]) if planar else f"{row}[{moved}]"

    def _across(self, column: str) -> str:
        """Where the pixel under filter row and column 0 begins, for the output column given."""
        axis = self.columns
        moved = _strided(column, axis.stride)
        if self.channels is Channels.PLANAR:  # without columns of padding: the copy has them
            return offset_from("at", [moved])
        if moved == "0":
            return f"at - {names.product(axis.padding, 16)}" if axis.padding else "at"
        return f"at + ({moved} - {axis.padding}) * 16" if axis.padding else f"at + {moved} * 16"


def _strided(index: str, stride: int) -> str:
    return index if stride == 1 or index == "0" else f"{index} * {stride}"
