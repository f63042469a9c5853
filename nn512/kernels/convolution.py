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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.kernels.conv_geometry import TILE_PIXELS, PixelTile, Repeat, Run, axes, pixel_tiles, real_taps, repeats
from nn512.kernels.conv_tile import MASKED, Channels, TileRoutine
from nn512.kernels.elementwise import write_chain_step
from nn512.kernels.epilogue import Chain
from nn512.kernels.layer import Context, ConvKernel, LayerCode, Part, Place, begin_step, declare_tensor, step_signature
from nn512.kernels.packing import ConvWeights
from nn512.passes.program import ConvBranch, ConvOp
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import Layout, blocks_of

PANEL_BLOCKS = 2

# More kinds of row tiles than this (wide padding) are not worth their code: then every row is a tile.
MOST_ROW_GROUPS = 4

# A panel that meets no more tiles than this comes from memory, not from a cache.
FEW_TILES = 8

# Fewer panels than this do not read the source often enough for chunks to pay.
FEW_PANELS = 3


def emit(op: ConvOp, context: Context, *, panel_blocks: int = PANEL_BLOCKS) -> LayerCode:
    """One layer: the tile routines it uses, its step functions and its packing."""
    return ConvLayer(op, context, panel_blocks).emit()


def scaled(index: str, factor: int) -> str:
    """` + index * factor`, or nothing for index 0."""
    return "" if index == "0" else f" + {index} * {factor}"


def is_pointwise(op: ConvOp) -> bool:
    """Whether the picture can be seen as one row of pixels."""
    node = op.branches[0].node
    geometry = (node.filter_h, node.filter_w, node.stride_h, node.stride_w, node.padding_h, node.padding_w)
    return geometry == (1, 1, 1, 1, 0, 0)


def padded_macs(op: ConvOp, context: Context) -> float:
    """Multiply-accumulates: blocks of outputs are computed whole, a block's groups one after another, padding is not."""
    source, node = context.places[op.source], op.branches[0].node
    inputs = source.shape.channels // node.groups
    outputs = sum(16 * blocks_of(branch.node.to_channels) for branch in op.branches)
    result = context.places[op.branches[0].writes].shape
    taps = 1.0
    for axis in axes(node, source.shape, result, padded=op.padded):
        taps *= real_taps(axis) / axis.out
    passes = max(1.0, 16 / (node.to_channels // node.groups)) if shares_blocks(op, context) else 1.0
    return outputs * result.pixels * inputs * taps * passes


def shares_blocks(op: ConvOp, context: Context) -> bool:
    """Whether groups are so small that several share a block of 16 channels."""
    node = op.branches[0].node
    inputs = context.places[op.source].shape.channels // node.groups
    return node.groups > 1 and (inputs % 16 > 0 or node.to_channels // node.groups % 16 > 0)


def weight_bytes(op: ConvOp, context: Context) -> float:
    """Bytes of float32 weights, padding lanes of outputs included."""
    node = op.branches[0].node
    inputs = context.places[op.source].shape.channels // node.groups
    outputs = sum(16 * blocks_of(branch.node.to_channels) for branch in op.branches)
    return 4.0 * outputs * inputs * node.filter_h * node.filter_w


def tensor_bytes(op: ConvOp, context: Context) -> float:
    """Bytes of the tensors of a layer; with a stride, a filter of one tap skips most of its source."""
    source, node = context.places[op.source], op.branches[0].node
    results = (context.places[branch.writes] for branch in op.branches)
    written = sum(len(p.layout.blocks) * p.shape.pixels for p in results)
    read = len(source.layout.blocks) * source.shape.pixels
    if (node.filter_h, node.filter_w) == (1, 1):
        read //= node.stride_h * node.stride_w
    return 64.0 * (read + written)


def work(op: ConvOp, context: Context) -> Work:
    """What the layer costs; a prologue is a pass of its own over the source, to scratch memory, with nothing beside it."""
    source = context.places[op.source]
    moved = tensor_bytes(op, context)
    if op.prologue:
        moved += 2 * EXPOSED * 64.0 * len(source.layout.blocks) * source.shape.pixels
    efficiency = 0.45 if shares_blocks(op, context) else 0.96
    return Work(padded_macs(op, context), efficiency, weight_bytes(op, context), moved)


KERNEL = ConvKernel("direct", lambda _op, _context: True, work, emit)


@dataclass(frozen=True, slots=True)
class Panels:
    """Output blocks computed `width` at a time: `count` panels from `first_block` on."""

    width: int
    count: int
    first_block: int


@dataclass(frozen=True, slots=True)
class Branch:
    """One convolution of the layer: its result, its packed weights and what follows in registers."""

    result: Place
    weights: ConvWeights
    chain: Chain
    panels: tuple[Panels, ...]


class ConvLayer:
    """The numbers of one layer while it is written.

    A prologue is a first step that fills scratch memory, unless a kernel has a better way (`input_in_scratch`).
    """

    kernel = "direct"
    input_in_scratch = True

    def __init__(self, op: ConvOp, context: Context, panel_blocks: int = PANEL_BLOCKS) -> None:
        self.context = context
        self.op = op
        self.panel_blocks = panel_blocks
        self.name = op.branches[0].writes
        self.node = op.branches[0].node  # all branches agree in all but output channels
        self.prologue = Chain(op.prologue)
        self.source = context.places[f"{self.name}_input" if op.prologue and self.input_in_scratch else op.source]
        result = context.places[self.name]
        self.rows, self.columns = axes(self.node, self.source.shape, result.shape, padded=op.padded)
        self.flat = result.shape.height > self.rows.out  # the picture as one row
        self.padded = self.rows.padding > 0 or self.columns.padding > 0
        self.tiles = pixel_tiles(self.columns, TILE_PIXELS)
        self.inputs = self.source.shape.channels // self.node.groups
        self.channels = self._channels()
        self.row_groups = self._row_groups()
        self.clipped = self.row_groups[0].tile.size == 1 and self.rows.padding > 0
        self.fetches = self.channels in (Channels.FULL, Channels.TAIL) and self.fetches_weights()
        self.branches = tuple(self._branch(branch) for branch in op.branches)
        self.chunk = self._chunk()

    def _chunk(self) -> int:
        """Pixels that meet all panels before the next ones do: as much of the source as stays in the level 2 cache."""
        row, (tiles, *others) = self.columns.out, repeats(self.tiles)
        panels = sum(panels.count for branch in self.branches for panels in branch.panels)
        size = 64 * len(self.source.layout.blocks) * self.source.shape.pixels
        if self.row_tiles > 1 or others or panels < FEW_PANELS or size <= self.context.machine.l2_bytes / 2:
            return row
        chunks = min(tiles.times, -(-2 * size // self.context.machine.l2_bytes))
        return -(-tiles.times // chunks) * tiles.tile.size

    @property
    def chunks(self) -> int:
        """Number of chunks of pixels."""
        return -(-self.columns.out // self.chunk)

    def _channels(self) -> Channels:
        regular = self.source.layout.regular
        outputs = self.node.to_channels // self.node.groups
        if self.node.groups > 1 and not (regular and self.inputs % 16 == 0 and outputs % 16 == 0):
            return Channels.GROUPS if regular else Channels.SCATTERED_GROUPS
        if not regular:
            return Channels.TABLE
        return Channels.TAIL if self.inputs % 16 else Channels.FULL

    def _row_groups(self) -> tuple[Repeat, ...]:
        """Rows that are computed together: several where the picture is narrow, so that the registers fill."""
        limit = 1
        if len(self.tiles) == 1 and self.channels not in MASKED:
            limit = min(self.rows.out, TILE_PIXELS // self.tiles[0].size)
        if limit > 1:
            groups = repeats(pixel_tiles(self.rows, limit))
            if len(groups) <= MOST_ROW_GROUPS and all(group.tile.runs for group in groups):
                return groups
        return (Repeat(PixelTile(0, 1, ()), self.rows.out),)

    @property
    def row_tiles(self) -> int:
        """Number of tiles from the first row to the last."""
        return sum(group.times for group in self.row_groups)

    def fetches_weights(self) -> bool:
        """Whether a panel's weights are used so few times that fetching the next ones ahead pays."""
        return 1 < len(self.tiles) * self.row_tiles <= FEW_TILES

    def _branch(self, branch: ConvBranch) -> Branch:
        panels = self._panels(branch)
        weights = ConvWeights(
            node=branch.node,
            inputs=self.inputs,
            layout=self.source.layout if self.node.groups == 1 else Layout((self.inputs,)),
            panel=panels[0].width,
            shared=self.channels in MASKED,
            normalized=self.op.normalized,
            folded=branch.folded,
        )
        return Branch(self.context.places[branch.writes], weights, Chain(branch.epilogue), panels)

    def _panels(self, branch: ConvBranch) -> tuple[Panels, ...]:
        node = branch.node
        blocks = blocks_of(node.to_channels)
        if self.channels in MASKED:
            return (Panels(1, blocks, 0),)
        if node.groups > 1:
            even = node.to_channels // node.groups % (16 * self.panel_blocks) == 0
            width = self.panel_blocks if even else 1
            return (Panels(width, blocks // width, 0),)
        whole, rest = divmod(blocks, self.panel_blocks)
        result = [Panels(self.panel_blocks, whole, 0)] if whole else []
        if rest:
            result.append(Panels(rest, 1, blocks - rest))
        return tuple(result)

    @property
    def items(self) -> int:
        """Units of work: rows of panels."""
        return sum(panels.count for branch in self.branches for panels in branch.panels) * self.row_tiles * self.chunks

    def routine(self, branch: Branch, panels: Panels, tile: PixelTile, row_tile: PixelTile) -> TileRoutine:
        """The tile routine for a tile of a panel."""
        runs = row_tile.runs or (Run(0, self.rows.taps, 0, 1),)
        return TileRoutine(
            blocks=panels.width,
            rows=row_tile.size,
            pixels=tile.size,
            filter_h=self.rows.taps,
            filter_w=self.columns.taps,
            stride_w=self.columns.stride,
            dilation_h=self.rows.dilation if self.clipped else 1,
            dilation_w=self.columns.dilation,
            clipped=self.clipped,
            padded=self.padded,
            row_runs=() if self.clipped else runs,
            runs=tile.runs,
            channels=self.channels,
            chain=branch.chain.neutral,
            fetches=self.fetches,
        )

    def emit(self) -> LayerCode:
        writer = Writer()
        functions: dict[TileRoutine, str] = {}
        for branch in self.branches:
            for panels in branch.panels:
                for tile, group in itertools.product(self.tiles, self.row_groups):
                    routine = self.routine(branch, panels, tile, group.tile)
                    if routine not in functions:
                        functions[routine] = self._write_tile(writer, branch, routine, len(functions))
        self.write_steps(writer, functions)
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
            edge_classes=tuple(sorted(self._edge_classes())),
        )

    def steps(self) -> tuple[Part, ...]:
        """The step functions and their items."""
        main = Part(self.name, self.items)
        return (Part(self.source.name, len(self.source.layout.blocks)), main) if self.prologue.steps else (main,)

    def tensors_read(self) -> tuple[str, ...]:
        """Names of the tensors the main step reads."""
        operands = (operand for branch in self.branches for operand in branch.chain.operands)
        return tuple(dict.fromkeys((self.source.name, *operands)))

    def write_steps(self, writer: Writer, functions: dict[TileRoutine, str]) -> None:
        """Write the step functions; `functions` are this layer's instances of tile routines."""
        prefix = self.context.prefix
        if self.prologue.steps:
            source = self.context.places[self.op.source]
            writer.lines(write_chain_step(self.context, self.source.name, source, self.source, self.prologue))
            writer.line()
        with writer.block(step_signature(prefix, self.name)):
            begin_step(writer, prefix)
            writer.line(f"const {prefix}Net *net = engine->net;")
            for name in self.tensors_read():
                declare_tensor(writer, self.context.places[name], written=False, flat=self.flat)
            for branch in self.branches:
                declare_tensor(writer, branch.result, written=True, flat=self.flat)
            begin = 0
            for branch in self.branches:
                for panels in branch.panels:
                    begin = self._write_panels(writer, branch, panels, begin, functions)

    def call_arguments(self, branch: Branch, source: str, block: str, pixel: str) -> list[str]:
        """Arguments of a call of a tile routine: where it reads, weights and biases, where it writes, the epilogue's."""
        return [
            source,
            f"net->{branch.weights.name}Weights" + scaled(block, branch.weights.block_floats),
            f"net->{branch.weights.name}Biases" + scaled(block, 16),
            f"{names.local(branch.result.name)}[{block}]{pixel}",
            *branch.chain.arguments(block, pixel),
        ]

    @property
    def plane(self) -> str:
        """Floats from one input block to the next."""
        return names.product(self.source.shape.height, self.source.shape.width, 16)

    def algorithm(self) -> str:
        """The algorithm in a few words."""
        sizes = " or ".join(str(size) for size in sorted({tile.size for tile in self.tiles}, reverse=True))
        widths = sorted({p.width for branch in self.branches for p in branch.panels}, reverse=True)
        outputs = " or ".join(str(16 * width) for width in widths)
        lanes = ", lanes masked by group" if self.channels in MASKED else ""
        return f"{self.kernel}, {outputs} outputs x {sizes} pixels in registers{lanes}"

    def _edge_classes(self) -> set[str]:
        kernel = self.kernel
        all_panels = [(branch, panels) for branch in self.branches for panels in branch.panels]
        rows = sorted({group.tile.size for group in self.row_groups})
        classes = {
            f"{kernel} tile {p.width}x{f'{r}x' if r > 1 else ''}{t.size}"
            for _, p in all_panels
            for t in self.tiles
            for r in rows
        }
        classes |= {f"{kernel} columns {self.routine(*all_panels[0], t, self.row_groups[0].tile).edge or 'inside'}" for t in self.tiles}
        if self.rows.padding:
            classes.add(f"{kernel} rows clipped")
        classes.add(f"{kernel} input {self.channels.value} {self.inputs % 16}")
        classes |= {f"{kernel} output tail {b.result.shape.channels % 16}" for b in self.branches}
        if len(self.branches) > 1:
            classes.add(f"{kernel} merged")
        return classes

    def _write_tile(self, writer: Writer, branch: Branch, routine: TileRoutine, number: int) -> str:
        """Write this layer's instance of a shared tile routine: the layer's constants are bound here."""
        shared = self.context.library.add(routine.hint, routine.write)
        name = names.static(self.context.prefix, f"{self.name}_tile{number or ''}")
        writer.statement(f"static NOINLINE void {name}", routine.parameters(), " {")
        with writer.indented():
            constants = self._write_constants(writer, branch, routine)
            writer.statement(shared, [*routine.forwarded(), *constants], ";")
        writer.line("}")
        writer.line()
        return name

    def _write_constants(self, writer: Writer, branch: Branch, routine: TileRoutine) -> list[str]:
        layout = self.source.layout
        outputs = branch.result.shape.channels // self.node.groups
        match self.channels:
            case Channels.FULL | Channels.TAIL:
                extent = [str(self.inputs)]
            case Channels.TABLE:
                writer.comment("channels in each block")
                writer.table("static const unsigned char counts[]", (str(b.channels) for b in layout.blocks))
                extent = [str(16 * len(layout.blocks)), "counts"]
            case Channels.GROUPS:
                extent = [str(self.node.groups), str(self.inputs), str(outputs)]
            case Channels.SCATTERED_GROUPS:
                writer.comment("block and lane of each channel")
                places = (layout.position(c) for c in range(layout.channels))
                writer.table("static const int places[][2]", (f"{{{block}, {lane}}}" for block, lane in places))
                extent = [str(self.node.groups), str(self.inputs), str(outputs), "places"]
            case _:
                assert_never(self.channels)
        width = self.source.shape.width
        row = [names.product(self.rows.dilation, width, 16)] if routine.steps_rows else []
        if routine.rows > 1:
            row.append(names.product(self.rows.stride, width, 16))
        elif self.clipped:
            row.append(str(self.rows.size))
        out_plane = names.product(branch.result.shape.height, branch.result.shape.width, 16)
        return [*extent, self.plane, *row, *([out_plane] if routine.blocks > 1 else [])]

    def _write_panels(
        self, writer: Writer, branch: Branch, panels: Panels, begin: int, functions: dict[TileRoutine, str]
    ) -> int:
        """Write the loop over the items of some panels; `begin` is the first one's number. Returns the end."""
        rows = self.row_tiles
        end = begin + panels.count * rows * self.chunks
        start = f"first < {begin} ? {begin} : first" if begin else "first"
        stop = f"item < last && item < {end}" if end < self.items else "item < last"
        several = panels.count > 1
        with writer.block(f"for (ptrdiff_t item = {start}; {stop}; item++)"):
            item = f"(item - {begin})" if begin else "item"
            block = str(panels.first_block)
            if several:
                number = item
                if self.chunks > 1:
                    writer.line(f"const ptrdiff_t chunk = {item} / {panels.count};")
                    number = f"{item} % {panels.count}"
                width = f" * {panels.width}" if panels.width > 1 else ""
                writer.line(f"const ptrdiff_t block = {number}{f' / {rows}' if rows > 1 else ''}{width};")
                block = "block"
            elif self.chunks > 1:
                writer.line(f"const ptrdiff_t chunk = {item.strip('()')};")
            if rows > 1:
                number = f"{item} % {rows}" if several else item.strip("()")
                self._write_row(writer, number)
            self._write_calls(writer, branch, panels, block, functions)
        return end

    def _write_row(self, writer: Writer, number: str) -> None:
        """Write the first row of the row tile with this number."""
        widest, narrowest = self.row_groups[0].tile.size, self.row_groups[-1].tile.size
        if len(self.row_groups) == 1 and widest == 1:
            writer.line(f"const ptrdiff_t y = {number};")
            return
        wide = sum(group.times for group in self.row_groups if group.tile.size == widest)
        row = f"t * {narrowest}" if narrowest > 1 else "t"
        if widest != narrowest:
            row += f" + (t < {wide} ? t : {wide})"
        writer.line(f"const ptrdiff_t t = {number}, y = {row};")

    def _write_calls(
        self, writer: Writer, branch: Branch, panels: Panels, block: str, functions: dict[TileRoutine, str]
    ) -> None:
        row = "" if self.flat else "[y]" if self.row_tiles > 1 else "[0]"
        base, down = self._source(block), self._down()
        start = 0
        for tile, count in repeats(self.tiles):
            function = self._either(functions[self.routine(branch, panels, tile, g.tile)] for g in self.row_groups)
            loop = f"for (ptrdiff_t x = {start}; x < {start + count * tile.size}; x += {tile.size})"
            if self.chunks > 1:
                end = f"x < (chunk + 1) * {self.chunk}"
                end += f" && x < {self.columns.out}" if self.columns.out % self.chunk else ""
                loop = f"for (ptrdiff_t x = chunk * {self.chunk}; {end}; x += {tile.size})"
            with writer.loop(loop) if count > 1 else contextlib.nullcontext():
                column = "x" if count > 1 else str(start)
                pixel = f"{row}[{column}]"
                offset = add_terms(down, self._across(column))
                arguments = [
                    *self.call_arguments(branch, base if self.padded else add_terms(base, offset), block, pixel),
                    *([offset or "0"] if self.padded else []),
                    *([self._origin()] if self.clipped else []),
                    *([f"{block} * 16"] if self.channels in MASKED else []),
                    *(self._ahead(branch, panels) if self.fetches else []),
                ]
                writer.statement(function, arguments, ";")
            start += count * tile.size

    def _either(self, functions: Iterable[str]) -> str:
        """The function for row tile t, as an expression."""
        chosen = list(functions)
        result, end = chosen[-1], self.row_tiles
        for group, function in zip(reversed(self.row_groups), reversed(chosen), strict=True):
            if function != result.strip("()").split(" ")[-1] or end != self.row_tiles:
                result = f"t < {end} ? {function} : {result}"
            end -= group.times
        return f"({result})" if " " in result else result

    def _ahead(self, branch: Branch, panels: Panels) -> list[str]:
        """Which weights a tile fetches: those of the next panel, one cache line of each input lane after another."""
        size = panels.width * branch.weights.block_floats
        lines = panels.width
        tile = "t" if (self.row_tiles > 1 and len(self.row_groups) > 1) or self.row_groups[0].tile.size > 1 else "y"
        number = f"{tile} % {lines}" if self.row_tiles > 1 else "0"
        return [f"{size} + {number} * 16" if lines > 1 and self.row_tiles > 1 else str(size)]

    def _source(self, block: str) -> str:
        """Pointer to the first pixel of the input."""
        blocks = "[0]"
        if self.node.groups > 1 and self.channels not in MASKED:
            blocks = f"[{block} / {self.node.to_channels // self.node.groups // 16} * {self.inputs // 16}]"
        return f"{names.local(self.source.name)}{blocks}[0]" + ("" if self.flat else "[0]")

    def _down(self) -> str:
        """Offset of the input row under filter row 0."""
        axis, width = self.rows, names.product(self.source.shape.width, 16)
        if self.row_tiles == 1:
            return _constant(-axis.padding * self.source.shape.width * 16)
        row = f"y * {axis.stride}" if axis.stride > 1 else "y"
        return f"({row} - {axis.padding}) * {width}" if axis.padding else f"{row} * {width}"

    def _origin(self) -> str:
        """Input row under filter row 0."""
        axis = self.rows
        row = "0" if self.row_tiles == 1 else f"y * {axis.stride}" if axis.stride > 1 else "y"
        return f"{row} - {axis.padding}"

    def _across(self, column: str) -> str:
        """Offset of the input column under filter column 0, for the output column given."""
        axis = self.columns
        if column.isdigit():
            return _constant((int(column) * axis.stride - axis.padding) * 16)
        moved = f"x * {axis.stride}" if axis.stride > 1 else "x"
        return f"({moved} - {axis.padding}) * 16" if axis.padding else f"{moved} * 16"


def _constant(value: int) -> str:
    return str(value) if value else ""


def add_terms(first: str, second: str) -> str:
    """`first + second` where both may be missing and the second may be a negative number."""
    if not (first and second):
        return first or second
    return f"{first} - {second[1:]}" if second.startswith("-") else f"{first} + {second}"
