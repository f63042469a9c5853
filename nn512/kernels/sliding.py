"""A layer of a grouped or depthwise convolution whose output blocks see one block of inputs each.

With C inputs and K outputs per group, C less than 16 and a divisor of 16 and of K, the 16 outputs of block b all read
block b / (K/C) of the inputs: groups never straddle a block. A permutation per input of the group brings each lane its
own. The source must hold channel c in lane c % 16 of block c / 16.

A prologue is a step function of its own, as in the direct kernel; there is one branch, as grouped convolutions are
never merged (`sliding_applies` says no otherwise, and the direct kernel takes the layer).
"""

from __future__ import annotations

import contextlib
from typing import assert_never

from nn512.cgen import names
from nn512.cgen.writer import Writer, sentence
from nn512.kernels.bodies import StepFunction
from nn512.kernels.elementwise import write_chain_step
from nn512.kernels.epilogue import Chain
from nn512.kernels.grouped_weights import GroupedWeights
from nn512.kernels.layer import Context, LayerCode, Part
from nn512.kernels.sliding_tile import IN_REGISTER, SlidingTile, Spread, inputs_read, inside, sliding_tiles
from nn512.kernels.tiles import write_tap_bounds
from nn512.passes.program import ConvOp
from nn512.plan.conv_geometry import Axis, PixelTile, axes, real_taps, repeats, sees_picture, span_of
from nn512.plan.cost import Work
from nn512.plan.layout import LANES, blocks_of

# Multiplications that take as long as calling a tile's routine, reading biases and storing sums.
TILE_OVERHEAD = 8

# Blocks of outputs that read one block of inputs: each has a row in a table of lanes.
MOST_LANE_ROWS = 64

# Inputs per group from which on loads leave time to fetch what comes next.
FETCHING = 4

# Vectors that are permuted or multiplied in the time of one at the peak rate: two ports multiply, one more permutes.
PORTS = 1.5


def sliding_applies(op: ConvOp, context: Context) -> bool:
    """Whether there is one branch and channels stand and fall into groups as this kernel needs it."""
    source, node = context.places[op.source], op.branches[0].node
    inputs, outputs = source.shape.channels // node.groups, node.to_channels // node.groups
    aligned = inputs < LANES and LANES % inputs == 0 and outputs % inputs == 0
    if aligned and lane_rows(inputs, outputs, node.to_channels) > MOST_LANE_ROWS:
        return False
    return len(op.branches) == 1 and source.layout.regular and aligned


def sliding_work(op: ConvOp, context: Context) -> Work:
    """What the layer costs: multiplications outside the padding, or else permutations where each serves few of them."""
    source, result = context.places[op.source], context.places[op.branches[0].writes]
    node = op.branches[0].node
    rows, columns = axes(node, source.shape, result.shape, op.zeros)
    tiles, sweeps = sliding_tiles(columns)
    inputs, blocks = source.shape.channels // node.groups, blocks_of(node.to_channels)
    multiplied = real_taps(columns)
    permuted = (
        0
        if inputs == node.to_channels // node.groups == 1
        else sum(times * inputs_read(columns, tile, sweeps=sweeps) for tile, times in tiles)
    )
    calls = blocks * rows.out * sum(times for _, times in tiles)
    products = blocks * inputs * real_taps(rows) * multiplied + calls * TILE_OVERHEAD
    efficiency = min(1.0, PORTS * multiplied / max(1, multiplied + permuted))
    moved = 64 * sum(p.layout.block_count * p.shape.pixels for p in (source, result))
    prologue = 128 * source.layout.block_count * source.shape.pixels if op.prologue else 0
    weights = 4 * LANES * blocks * inputs * rows.taps * columns.taps
    return Work(LANES * products, efficiency or 1.0, weights, moved + prologue)


def lane_rows(inputs: int, outputs: int, to_channels: int) -> int:
    """Blocks of outputs that differ in the lanes they read, for groups of so many inputs and outputs."""
    return min(outputs // inputs, blocks_of(to_channels))


class SlidingLayer:
    """The numbers of one layer while it is written."""

    def __init__(self, op: ConvOp, context: Context, kernel: str) -> None:
        self.context = context
        self.op = op
        self.kernel = kernel
        branch = op.branches[0]
        self.name = branch.writes
        self.node = branch.node
        self.prologue = Chain(op.prologue)
        self.chain = Chain(branch.epilogue, shared=self.name in context.bodies)
        self.source = context.places[f"{self.name}_input" if op.prologue else op.source]
        self.result = context.places[self.name]
        self.rows, self.columns = axes(self.node, self.source.shape, self.result.shape, op.zeros)
        self.flat = self.result.shape.height > self.rows.out  # the picture as one row
        self.clipped = self.rows.taps > 1 or self.rows.padding > 0
        self.repeats, self.sweeps = sliding_tiles(self.columns)
        self.tiles = tuple(tile for tile, _ in self.repeats)  # of neighbours that are alike the first
        self.inputs = self.source.shape.channels // self.node.groups
        self.outputs = self.node.to_channels // self.node.groups
        self.weights = GroupedWeights(self.node, self.inputs, op.normalized, branch.folded)
        self.body = StepFunction(
            context,
            self.source,
            (self.node,),
            (self.result,),
            Chain(()),
            (self.chain,),
            flat=self.flat,
            net=self.chain.normalizes,
        )

    @property
    def ratio(self) -> int:
        """Output blocks that read the same input block."""
        return self.outputs // self.inputs

    @property
    def _blind(self) -> bool:
        """Whether there are output rows of which every filter row falls on padding."""
        rows = self.rows
        edge = -(-rows.padding // rows.stride)  # rows behind it do not begin above the picture
        return not all(sees_picture(rows, y) for y in (*range(min(edge, rows.out)), rows.out - 1))

    @property
    def spread(self) -> Spread:
        """How inputs come into their lanes."""
        if self.inputs > 1:
            return Spread.PERMUTED
        return Spread.COPIED if self.outputs > 1 else Spread.SAME

    @property
    def _far(self) -> bool:
        """Whether the source comes from beyond the level 2 cache, row by row, and loads leave time to fetch it.

        3x3 with 8 inputs per group, 256x56x56 to 28x28, takes 300 us then instead of 396 (Zen 4). A depthwise layer
        would take 145 us instead of 137: it reads as much as it computes.
        """
        return self.clipped and self.inputs >= FETCHING and self.source.bytes > self.context.machine.l2_bytes

    def routine(self, tile: PixelTile) -> SlidingTile:
        """The tile routine for a tile."""
        span = span_of(self.columns, tile.size)
        low, high = inside(self.columns, tile)
        return SlidingTile(
            spread=self.spread,
            pixels=tile.size,
            filter_h=self.rows.taps,
            filter_w=self.columns.taps,
            stride_w=self.columns.stride,
            dilation_w=self.columns.dilation,
            clipped=self.clipped,
            sweeps=self.sweeps,
            span=span,
            low=low,
            high=high if self.sweeps else span,
            runs=() if self.sweeps else tile.runs,
            far=self._far,
            chain=self.chain.neutral,
        )

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        blocks = blocks_of(self.node.to_channels)
        writer = Writer()
        steps = [Part(self.name, blocks * self.rows.out)]
        if self.prologue.steps:
            steps.insert(0, Part(self.source.name, self.source.layout.block_count))
            source = self.context.places[self.op.source]
            writer.lines(write_chain_step(self.context, source, self.source, self.prologue))
            writer.line()
        how = f"{'rows of blocks' if self.rows.out > 1 else 'blocks'} first to last-1. {sentence(self._algorithm())}"
        self.body.write(writer, self.body.hint(self.kernel), self.body.description(how), self._write_body)
        return LayerCode(
            name=self.name,
            kernel=self.kernel,
            algorithm=self._algorithm(),
            steps=tuple(steps),
            code=writer.text(),
            fields=(
                *self.weights.fields(),
                *self.chain.fields(self.result.layout),
                *self.prologue.fields(self.source.layout),
            ),
            packs=(
                self.weights.pack(),
                *self.chain.packs(self.result.layout),
                *self.prologue.packs(self.source.layout),
            ),
            edge_classes=tuple(sorted(self._edge_classes())),
        )

    def _write_body(self, writer: Writer) -> None:
        """Write the constants and the loop over rows of output blocks."""
        if self.routine(self.tiles[0]).permutes:
            self._write_lanes(writer)
        if constants := self.routine(self.tiles[0]).constants():
            numbers = {
                "channels": self.inputs,
                "row": names.product(self.rows.dilation, self.source.shape.width, 16),
                "down": names.product(self.rows.stride, self.source.shape.width, 16),
                "soon": -(-span_of(self.columns, self.tiles[0].size) // self.inputs),
            }
            writer.enumeration("const ptrdiff_t ", [f"{name} = {numbers[name]}" for name in constants], ";")
        with writer.block("for (ptrdiff_t item = first; item < last; item++)"):
            rows = self.rows.out
            row = f" / {rows}, y = item % {rows}" if rows > 1 else ""
            if self.clipped:
                row += f", origin = {self._origin()}"
            note = " /* origin: input row under filter row 0 */" if self.clipped else ""
            writer.line(f"const ptrdiff_t block = item{row};{note}")
            extent = self.weights.block_extent
            writer.assign("const float *w", f"{self.body.weights_of(self.node)} + block * ({extent})")
            writer.assign("const float *bias", f"{self.body.biases_of(self.node)} + block * 16")
            if self.clipped:
                write_tap_bounds(writer, str(self.rows.size), self.rows.taps, self.rows.dilation)
            if self._blind:
                writer.line(
                    f"const ptrdiff_t topRow = top < bottom ? {_first_row(self.rows)} : 0; /* else none is read */"
                )
            self._write_calls(writer)

    def _algorithm(self) -> str:
        sizes = " or ".join(str(size) for size in sorted({tile.size for tile in self.tiles}, reverse=True))
        match self.spread:
            case Spread.SAME:
                how = "channels stay in their lanes"
            case Spread.COPIED:
                how = f"each channel copied to {self.outputs} lanes"
            case Spread.PERMUTED:
                how = f"{self.inputs} inputs per group permuted"
            case _:
                assert_never(self.spread)
        return f"{self.kernel}, 16 outputs x {sizes} pixels in registers, {how}"

    def _edge_classes(self) -> set[str]:
        kernel = self.kernel
        loop = "columns" if self.sweeps else "taps"
        classes = {f"{kernel} {loop} tile {tile.size}" for tile in self.tiles}
        classes |= {f"{kernel} {loop} {self.routine(tile).edge or 'inside'}" for tile in self.tiles}
        classes |= {f"{kernel} source far"} if self._far else set()
        classes.add(f"{kernel} {self.inputs} to {self.outputs} per group")
        classes.add(f"{kernel} output tail {self.node.to_channels % 16}")
        if self.rows.padding:
            classes.add(f"{kernel} rows clipped")
        return classes

    def _write_lanes(self, writer: Writer) -> None:
        """Write for each output block that reads the same input block where each lane finds its group's first input."""
        rows = []
        for block in range(lane_rows(self.inputs, self.outputs, self.node.to_channels)):
            groups = ((block * LANES + lane) // self.outputs for lane in range(LANES))
            rows.append("{" + ", ".join(str(group * self.inputs) for group in groups) + "}")
        writer.comment("the lane in which each lane of an output block finds the first input of its group")
        if len(rows) == 1:
            writer.line(f"static const int lanes[1][{LANES}] = {{{rows[0]}}};")
            return
        with writer.block(f"static const int lanes[{len(rows)}][{LANES}] =", "};"):
            for row in rows:
                writer.line(f"{row},")

    def _origin(self) -> str:
        """The input row under filter row 0 for output row y."""
        axis = self.rows
        start = "0" if axis.out == 1 else f"y * {axis.stride}" if axis.stride > 1 else "y"
        return f"{start} - {axis.padding}"

    def _write_calls(self, writer: Writer) -> None:
        row = "" if self.flat else "[y]" if self.rows.out > 1 else "[0]"
        phase = f"block % {self.ratio}" if self.ratio > 1 else "0"
        for tile, count in repeats(self.repeats, self.routine):
            routine = self.routine(tile)
            loop = f"for (ptrdiff_t x = {tile.start}; x < {tile.start + count * tile.size}; x += {tile.size})"
            with writer.loop(loop) if count > 1 else contextlib.nullcontext():
                column = "x" if count > 1 else str(tile.start)
                pixel = f"{row}[{column}]"
                arguments = [
                    self._source(tile, column),
                    "w",
                    "bias",
                    f"{self.body.tensor(self.result)}[block]{pixel}",
                    *self.chain.arguments("block", pixel),
                    *(["top", "bottom"] if self.clipped else []),
                    *([f"lanes[{phase}]"] if routine.permutes else []),
                ]
                if routine.sweeps:
                    self.context.library.add("IN_REGISTER", lambda _: IN_REGISTER)
                shared = self.context.library.add(routine.hint, routine.write)
                writer.statement(shared, [*arguments, *routine.constants()], ";")

    def _source(self, tile: PixelTile, column: str) -> str:
        """The first input inside the picture that a tile sees; `column` is that of its first output."""
        rows, columns = self.rows, self.columns
        block = f"block / {self.ratio}" if self.ratio > 1 else "block"
        row = ""
        if self.clipped:
            row = "[topRow]" if self._blind else f"[{_first_row(rows)}]"
        elif not self.flat:
            row = "[0]" if rows.out == 1 else f"[y * {rows.stride}]" if rows.stride > 1 else "[y]"
        moved = inside(columns, tile)[0] - columns.padding
        if column.isdigit():
            place = str(int(column) * columns.stride + moved)
        else:
            place = f"x * {columns.stride}" if columns.stride > 1 else "x"
            place += f" {'-' if moved < 0 else '+'} {abs(moved)}" if moved else ""
        return f"{self.body.tensor(self.source)}[{block}]{row}[{place}]"


def _first_row(axis: Axis) -> str:
    """The input row under the first filter row inside the picture."""
    return f"origin + top * {axis.dilation}" if axis.dilation > 1 else "origin + top"
