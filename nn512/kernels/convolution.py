"""Direct convolution: any filter, stride, padding, dilation and groups.

A panel of one or two blocks of outputs stays in registers for a tile of neighbouring pixels of one row, while the loops
run over input channels and taps. Taps that fall on padding are skipped: above and below by the bounds of the tap loop,
left and right because each tile at an edge has a routine of its own in which such taps leave out the pixels concerned.
A 1x1 filter without stride and padding sees the picture as one row of height * width pixels. Groups that are not made
of whole blocks share output blocks; their lanes are masked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.kernels.conv_geometry import TILE_PIXELS, PixelTile, axes, pixel_tiles, repeats
from nn512.kernels.conv_tile import MASKED, Channels, TileRoutine
from nn512.kernels.epilogue import chain
from nn512.kernels.layer import Context, LayerCode, WeightField, begin_step, declare_tensor, step_signature
from nn512.kernels.packing import Channel, begin_pack, each_channel, fold, pack_signature
from nn512.passes.program import ConvOp
from nn512.plan.layout import Layout, blocks_of

PANEL_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Panels:
    """Output blocks computed `width` at a time: `count` panels from `first_block` on, their weights in `field`."""

    width: int
    count: int
    first_block: int
    field: str


def emit(op: ConvOp, context: Context, *, panel_blocks: int = PANEL_BLOCKS) -> LayerCode:
    """One layer: the tile routines it uses, its step function and its packing."""
    return _ConvLayer(op, context, panel_blocks).emit()


class _ConvLayer:
    """The numbers of one layer while it is written."""

    def __init__(self, op: ConvOp, context: Context, panel_blocks: int) -> None:
        self.context = context
        self.panel_blocks = panel_blocks
        (self.branch,) = op.branches
        self.node = self.branch.node
        self.source = context.places[op.source]
        self.result = context.places[self.branch.writes]
        self.chain = chain(self.branch.epilogue)
        self.name = self.branch.writes
        self.rows, self.columns = axes(self.node, self.source.shape, self.result.shape, padded=op.padded)
        self.flat = self.result.shape.height > self.rows.out  # the picture as one row
        self.clipped = self.rows.taps > 1 or self.rows.padding > 0
        self.tiles = pixel_tiles(self.columns, TILE_PIXELS)
        self.inputs = self.source.shape.channels // self.node.groups
        self.outputs = self.node.to_channels // self.node.groups
        self.channels = self._channels()
        self.blocks = blocks_of(self.node.to_channels)
        self.panels = self._panels()

    def _channels(self) -> Channels:
        regular = self.source.layout.regular
        if self.node.groups > 1 and not (regular and self.inputs % 16 == 0 and self.outputs % 16 == 0):
            return Channels.GROUPS if regular else Channels.SCATTERED_GROUPS
        if not regular:
            return Channels.TABLE
        return Channels.TAIL if self.inputs % 16 else Channels.FULL

    def _panels(self) -> tuple[Panels, ...]:
        field = f"{self.node.to_tensor}Weights"
        if self.channels in MASKED:
            return (Panels(1, self.blocks, 0, field),)
        if self.node.groups > 1:
            width = self.panel_blocks if self.outputs % (16 * self.panel_blocks) == 0 else 1
            return (Panels(width, self.blocks // width, 0, field),)
        whole, rest = divmod(self.blocks, self.panel_blocks)
        result = [Panels(self.panel_blocks, whole, 0, field)] if whole else []
        if rest:
            result.append(Panels(rest, 1, self.blocks - rest, f"{field}Last" if whole else field))
        return tuple(result)

    @property
    def items(self) -> int:
        """Units of work: rows of panels."""
        return sum(p.count for p in self.panels) * self.rows.out

    def routine(self, panels: Panels, tile: PixelTile) -> TileRoutine:
        """The tile routine for a tile of a panel."""
        return TileRoutine(
            blocks=panels.width,
            pixels=tile.size,
            filter_h=self.rows.taps,
            filter_w=self.columns.taps,
            stride_w=self.columns.stride,
            dilation_w=self.columns.dilation,
            clipped=self.clipped,
            runs=tile.runs,
            channels=self.channels,
            chain=self.chain,
        )

    def emit(self) -> LayerCode:
        writer = Writer()
        functions: dict[TileRoutine, str] = {}
        for panels in self.panels:
            for tile in self.tiles:
                routine = self.routine(panels, tile)
                if routine not in functions:
                    functions[routine] = self._write_tile(writer, routine, len(functions))
        with writer.block(step_signature(self.context.prefix, self.name)):
            begin_step(writer, self.context.prefix)
            writer.line(f"const {self.context.prefix}Net *net = engine->net;")
            for name in dict.fromkeys((self.source.name, *self.chain.operands)):
                writer.line(declare_tensor(self.context.places[name], written=False, flat=self.flat))
            writer.line(declare_tensor(self.result, written=True, flat=self.flat))
            begin = 0
            for panels in self.panels:
                begin = self._write_panels(writer, panels, begin, functions)
        return LayerCode(
            name=self.name,
            kernel=self._kernel(),
            algorithm=self._algorithm(),
            items=self.items,
            code=writer.text(),
            fields=self._fields(),
            pack=self._pack(),
            pack_items=self.blocks,
            edge_classes=tuple(sorted(self._edge_classes())),
        )

    def _kernel(self) -> str:
        if self.channels in MASKED:
            return "grouped"
        return "pointwise" if self.rows.taps * self.columns.taps == 1 else "direct"

    def _algorithm(self) -> str:
        sizes = " or ".join(str(size) for size in sorted({tile.size for tile in self.tiles}, reverse=True))
        outputs = " or ".join(str(16 * p.width) for p in self.panels)
        return f"{self._kernel()}, {outputs} outputs x {sizes} pixels in registers"

    def _edge_classes(self) -> set[str]:
        kernel = self._kernel()
        classes = {f"{kernel} tile {p.width}x{t.size}" for p in self.panels for t in self.tiles}
        classes |= {f"{kernel} columns {self.routine(self.panels[0], t).edge or 'inside'}" for t in self.tiles}
        if self.rows.padding:
            classes.add(f"{kernel} rows clipped")
        classes.add(f"{kernel} input {self.channels.value} {self.inputs % 16}")
        classes.add(f"{kernel} output tail {self.node.to_channels % 16}")
        return classes

    def _fields(self) -> tuple[WeightField, ...]:
        biases = WeightField(f"{self.node.to_tensor}Biases", (self.blocks, 16), "[block][lane]")
        taps = (self.rows.taps, self.columns.taps)
        if self.channels in MASKED:
            order = "[out block][channel of the group][row][column][out lane]"
            weights = [
                WeightField(f"{self.node.to_tensor}Weights", (self.blocks, self.inputs, *taps, 16), order)
            ]
        else:
            blocks = len(self.source.layout.blocks) // self.node.groups
            order = "[panel][in block][row][column][in lane][out block][out lane]"
            weights = [
                WeightField(p.field, (p.count, blocks, *taps, 16, p.width, 16), order) for p in self.panels
            ]
        return (biases, *weights, *self.chain.fields(self.result.layout))

    def _write_tile(self, writer: Writer, routine: TileRoutine, number: int) -> str:
        """Write this layer's instance of a shared tile routine: the layer's constants are bound here."""
        shared = self.context.library.add(routine.hint, routine.write)
        name = names.static(self.context.prefix, f"{self.name}_tile{number or ''}")
        writer.statement(f"static NOINLINE void {name}", routine.parameters(), " {")
        with writer.indented():
            constants = self._write_constants(writer, routine)
            writer.statement(shared, [*routine.forwarded(), *constants], ";")
        writer.line("}")
        writer.line()
        return name

    def _write_constants(self, writer: Writer, routine: TileRoutine) -> list[str]:
        layout = self.source.layout
        match self.channels:
            case Channels.FULL | Channels.TAIL:
                extent = [str(self.inputs)]
            case Channels.TABLE:
                writer.comment("channels in each block")
                writer.table("static const unsigned char counts[]", (str(b.channels) for b in layout.blocks))
                extent = [str(16 * len(layout.blocks)), "counts"]
            case Channels.GROUPS:
                extent = [str(self.node.groups), str(self.inputs), str(self.outputs)]
            case Channels.SCATTERED_GROUPS:
                writer.comment("block and lane of each channel")
                places = (layout.position(c) for c in range(layout.channels))
                writer.table("static const int at[][2]", (f"{{{block}, {lane}}}" for block, lane in places))
                extent = [str(self.node.groups), str(self.inputs), str(self.outputs), "at"]
        plane = names.product(self.source.shape.height, self.source.shape.width, 16)
        row = [names.product(self.rows.dilation, self.source.shape.width, 16)] if self.clipped else []
        out_plane = names.product(self.result.shape.height, self.result.shape.width, 16)
        return [*extent, plane, *row, *([out_plane] if routine.blocks > 1 else [])]

    def _write_panels(self, writer: Writer, panels: Panels, begin: int, functions: dict[TileRoutine, str]) -> int:
        """Write the loop over the items of some panels; `begin` is the first one's number. Returns the end."""
        rows = self.rows.out
        end = begin + panels.count * rows
        start = f"first < {begin} ? {begin} : first" if begin else "first"
        stop = f"item < last && item < {end}" if end < self.items else "item < last"
        with writer.block(f"for (ptrdiff_t item = {start}; {stop}; item++)"):
            item = f"(item - {begin})" if begin else "item"
            panel = "0" if panels.count == 1 else f"{item} / {rows}" if rows > 1 else item
            if panels.count == 1:
                writer.line(f"const ptrdiff_t block = {panels.first_block};")
            elif panels.width == 1:
                writer.line(f"const ptrdiff_t block = {panel};")
                panel = "block"
            else:
                writer.line(f"const ptrdiff_t panel = {panel}, block = panel * {panels.width};")
                panel = "panel"
            if rows > 1:
                writer.line(f"const ptrdiff_t y = {item} % {rows};")
            if self.clipped:
                self._write_tap_bounds(writer)
            weights = f"net->{panels.field}[{panel}]" + "[0]" * (3 if self.channels in MASKED else 5)
            self._write_calls(writer, panels, weights, functions)
        return end

    def _write_tap_bounds(self, writer: Writer) -> None:
        axis = self.rows
        top = f"y * {axis.stride}" if axis.out > 1 else "0"
        writer.line(f"const ptrdiff_t origin = {top} - {axis.padding}; /* input row under filter row 0 */")
        above, below = "-origin", f"{axis.size} - origin"
        if axis.dilation > 1:
            above, below = (f"({rows} + {axis.dilation - 1}) / {axis.dilation}" for rows in (above, below))
        writer.line(f"const ptrdiff_t top = origin < 0 ? {above} : 0;")
        writer.line(f"const ptrdiff_t bottom = {below} < {axis.taps} ? {below} : {axis.taps};")

    def _write_calls(
        self, writer: Writer, panels: Panels, weights: str, functions: dict[TileRoutine, str]
    ) -> None:
        row = "" if self.flat else "[y]" if self.rows.out > 1 else "[0]"
        base = self._source_row()
        for start, tile, count in repeats(self.tiles):
            function = functions[self.routine(panels, tile)]
            loop = f"for (ptrdiff_t x = {start}; x < {start + count * tile.size}; x += {tile.size})"
            with writer.block(loop) if count > 1 else contextlib.nullcontext():
                column = "x" if count > 1 else str(start)
                pixel = f"{row}[{column}]"
                arguments = [
                    base + self._source_column(column),
                    weights,
                    f"net->{self.node.to_tensor}Biases + block",
                    f"{names.local(self.result.name)}[block]{pixel}",
                    *self.chain.arguments("block", pixel),
                    *(["top", "bottom"] if self.clipped else []),
                    *(["block * 16"] if self.channels in MASKED else []),
                ]
                writer.statement(function, arguments, ";")

    def _source_row(self) -> str:
        """Pointer to column 0 of the input row under filter row 0."""
        blocks = "[0]"
        if self.node.groups > 1 and self.channels not in MASKED:
            blocks = f"[block / {self.outputs // 16} * {self.inputs // 16}]"
        plane = f"{names.local(self.source.name)}{blocks}[0]" + ("" if self.flat else "[0]")
        if self.clipped:
            return f"{plane} + origin * {names.product(self.source.shape.width, 16)}"
        if self.rows.out == 1:
            return plane
        row = f"y * {self.rows.stride}" if self.rows.stride > 1 else "y"
        return f"{plane} + {row} * {names.product(self.source.shape.width, 16)}"

    def _source_column(self, column: str) -> str:
        """Offset of the input column under filter column 0, for the output column given."""
        axis = self.columns
        if column.isdigit():
            offset = (int(column) * axis.stride - axis.padding) * 16
            return f" {'-' if offset < 0 else '+'} {abs(offset)}" if offset else ""
        moved = f"x * {axis.stride}" if axis.stride > 1 else "x"
        return f" + ({moved} - {axis.padding}) * 16" if axis.padding else f" + {moved} * 16"

    def _pack(self) -> str:
        writer = Writer()
        node = self.node
        with writer.block(pack_signature(self.context.prefix, self.name)):
            begin_pack(writer, self.context.prefix)
            extents = f"[{self.inputs}][{node.filter_h}][{node.filter_w}]"
            writer.line(f"const float (*weights){extents} = (const void *)params->{node.to_tensor}Weights;")
            with writer.block(f"for (ptrdiff_t k = first * 16; k < last * 16 && k < {node.to_channels}; k++)"):
                bias = f"params->{node.to_tensor}Biases[k]"
                factor, bias = fold(writer, self.context, self.branch.folded, "k", bias)
                writer.line(f"net->{node.to_tensor}Biases[k / 16][k % 16] = {bias};")
                self._write_pack_weights(writer, factor)
            if self.chain.fields(self.result.layout):
                with writer.block("if (first == 0)"):
                    self.chain.pack(writer, self.context, self.result.layout)
        return writer.text()

    def _write_pack_weights(self, writer: Writer, factor: str) -> None:
        if self.channels in MASKED:
            with each_channel(writer, Layout((self.inputs,))) as channel:
                to = f"net->{self.node.to_tensor}Weights[k / 16][{channel.number}][i][j][k % 16]"
                self._write_pack_taps(writer, to, channel, factor)
            return
        layout = self.source.layout if self.node.groups == 1 else Layout((self.inputs,))
        for number, panels in enumerate(self.panels):
            guard = ""
            if len(self.panels) > 1:
                guard = f"if (k {'<' if number == 0 else '>='} {self.panels[1].first_block * 16})"
            panel = f"k / {16 * panels.width}" if panels.count > 1 else "0"
            block = f"k / 16 % {panels.width}" if panels.width > 1 else "0"
            with writer.block(guard) if guard else contextlib.nullcontext(), each_channel(writer, layout) as channel:
                to = f"net->{panels.field}[{panel}][{channel.block}][i][j][{channel.lane}][{block}][k % 16]"
                self._write_pack_taps(writer, to, channel, factor)

    def _write_pack_taps(self, writer: Writer, to: str, channel: Channel, factor: str) -> None:
        value = f"weights[k][{channel.number}][i][j]"
        with writer.block(f"for (ptrdiff_t i = 0; i < {self.node.filter_h}; i++)"):
            writer.line(f"for (ptrdiff_t j = 0; j < {self.node.filter_w}; j++)")
            with writer.indented():
                writer.line(f"{to} = {f'(float)({factor}{value})' if factor else value};")


