"""A layer of a grouped or depthwise convolution whose output blocks see one block of inputs each.

With C inputs and K outputs per group, C less than 16 and a divisor of 16 and of K, the 16 outputs of block b all read
block b / (K/C) of the inputs: groups never straddle a block. A permutation per input of the group brings each lane its
own. The source must hold channel c in lane c % 16 of block c / 16.

A prologue is a step function of its own, as in the direct kernel. There is one branch: convolutions of several groups
are never merged.
"""

from __future__ import annotations

import contextlib
from typing import assert_never

from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ZERO, Conditional, Constant, Expression, Less, Name, extent
from nn512.cgen.writer import Writer, sentence
from nn512.ir import ConvBranch, ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body, StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.conv_deciding import Bordering
from nn512.kernels.deciding import Chaining, Packing, Pairing, tell_packing, tell_steps
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED, Edges
from nn512.kernels.elementwise import Store, write_chain_step
from nn512.kernels.grouped_weights import GroupedWeights
from nn512.kernels.interface import Context, Setting
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.sliding_tile import IN_REGISTER, SlidingTile, Spread, Sweeping, inputs_read, inside, sliding_tiles
from nn512.kernels.tiles import BFLOAT16, BFLOAT16_TARGET, EDGE_WORDS, SIZES, add_operands, first_row, write_tap_bounds
from nn512.plan.conv_geometry import (
    TILE_PIXELS,
    PixelTile,
    axes,
    has_blind_outputs,
    real_taps,
    repeats,
    span_of,
)
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

# A loop over columns sees every column once, that over taps those that a tap sees.
SWEEP_TILE, TAP_TILE = (Edges(f"{loop} tile", tuple(range(1, TILE_PIXELS + 1))) for loop in ("columns", "taps"))
SWEEPS, TAPS = Edges("columns", ("inside", "left", "right", "both")), Edges("taps", ("inside", *EDGE_WORDS))
GROUP_INPUTS = Edges("inputs of a group", (2, 4, 8))
RATIO = Edges("outputs for an input", ("one", "several"))
FAR, CLIPPED, SEGMENTS = Edges("source far"), Edges("rows clipped"), Edges("channels in segments")
EDGES = (SWEEP_TILE, TAP_TILE, SWEEPS, TAPS, RATIO, CLIPPED)

DECISIONS: tuple[Decision, ...] = (
    *(*Sweeping, Bordering.COLUMNS, Bordering.COPIED, Bordering.CLIPPED, Bordering.BLIND, Packing.AFTER),
    *(Chaining.FIRST, Chaining.WRITING, Pairing.RESULT, Body.OWN, Body.LONE, Body.SHARED),
)
"""What all of these kernels may decide while they emit a layer."""

_BLOCK = Name("block")


class Refusing(Decision):
    """Why these kernels do not take a layer."""

    ALIGNED = "refused: the lanes of a block are no whole groups"
    TABLE = "refused: the table of lanes would be too long"
    SEGMENTS = "refused: channels stand in segments and would change lanes"


def sliding_refuses(op: ConvOp, setting: Setting, channels: int = 1) -> Refusing | None:
    """Why these kernels do not take a layer, if so; an input is so many `channels`: one, or a pair."""
    source, node = setting.places[op.source], op.node
    inputs, outputs = source.shape.channels // node.groups // channels, node.to_channels // node.groups
    if inputs >= LANES or LANES % inputs or outputs % inputs:
        return Refusing.ALIGNED
    if lane_rows(inputs, outputs, node.to_channels) > MOST_LANE_ROWS:
        return Refusing.TABLE
    stays = inputs == outputs == channels == 1
    return None if stays or source.layout.regular else Refusing.SEGMENTS


def sliding_work(op: ConvOp, setting: Setting, channels: int = 1) -> Work:
    """What the layer costs: multiplications outside the padding, or else permutations where each serves few of them.

    An input is so many `channels`: one, or a pair, whose products cost what one does, and which come from a step of
    their own that steps before the convolution are part of.
    """
    source, result = setting.places[op.source], setting.places[op.branches[0].writes]
    node = op.branches[0].node
    rows, columns = axes(node, source.shape, result.shape, op.zeros)
    tiles, sweeping = sliding_tiles(columns)
    inputs, blocks = source.shape.channels // node.groups // channels, result.layout.block_count
    multiplied = real_taps(columns)
    permuted = (
        0
        if inputs == node.to_channels // node.groups == 1
        else sum(times * inputs_read(columns, tile, sweeps=sweeping is Sweeping.COLUMNS) for tile, times in tiles)
    )
    calls = blocks * rows.out * sum(times for _, times in tiles)
    products = blocks * inputs * real_taps(rows) * multiplied + calls * TILE_OVERHEAD
    efficiency = min(1.0, PORTS * multiplied / max(1, multiplied + permuted))
    moved = 64 * sum(p.layout.block_count * p.shape.pixels for p in (source, result))
    prologue = 128 * source.layout.block_count * source.shape.pixels if op.prologue and channels == 1 else 0
    weights = 4 * LANES * blocks * inputs * rows.taps * columns.taps
    return Work(LANES * products, efficiency or 1.0, weights, moved + prologue)


def lane_rows(inputs: int, outputs: int, to_channels: int) -> int:
    """Blocks of outputs that differ in the lanes they read, for groups of so many inputs and outputs."""
    return min(outputs // inputs, blocks_of(to_channels))


class SlidingLayer:
    """The text of one layer. In `pairs` inputs and weights are pairs of bfloat16, each counted as one channel."""

    pairs = False

    def __init__(self, op: ConvOp, context: Context, kernel: str) -> None:
        self.context = context
        self.op = op
        self.kernel = kernel
        branch = op.branches[0]
        self.name = branch.writes
        self.node = branch.node
        self.prologue = ChainCode(op.prologue)
        self.chain = ChainCode(branch.epilogue, shared=context.shares(self.name))
        self.given = context.places[op.source]
        self.source = context.places[self.scratch] if self.fills_scratch else self.given.stored
        self.result = context.places[self.name]
        self.rows, self.columns = axes(self.node, self.source.shape, self.result.shape, op.zeros)
        self.flat = self.result.shape.height > self.rows.out  # the picture as one row
        self.clipped = self.rows.taps > 1 or self.rows.is_padded
        self.repeats, self.sweeping = sliding_tiles(self.columns)
        self.tiles = tuple(tile for tile, _ in self.repeats)  # of neighbours that are alike the first
        self.inputs = self.source.shape.channels // self.node.groups
        self.outputs = self.node.to_channels // self.node.groups
        self.weights = self.packed(branch)
        self.body = StepFunction(
            context,
            self.source,
            (self.node,),
            (self.result,),
            ChainCode(()),
            (self.chain,),
            flat=self.flat,
            net=self.chain.has_parameters,
            target=BFLOAT16_TARGET if self.pairs or self.result.pairs else "",
        )

    @property
    def sweeps(self) -> bool:
        """Whether a tile's routine loops over columns."""
        return self.sweeping is Sweeping.COLUMNS

    @property
    def scratch(self) -> str:
        """Name of what the first step fills, where it is one of its own."""
        return self.op.prepared

    @property
    def fills_scratch(self) -> bool:
        """Whether there is such a step."""
        return bool(self.op.prologue)

    def store(self) -> Store | None:
        """How the first step stores what it computes; None for floats as they are."""
        return None

    def packed(self, branch: ConvBranch) -> GroupedWeights | PairedWeights:
        """The packed weights."""
        op = self.op
        return GroupedWeights(self.node, self.inputs, self.result.layout, op.shuffled, op.normalized, branch.folded)

    @property
    def ratio(self) -> int:
        """Output blocks that read the same input block."""
        return self.outputs // self.inputs

    @property
    def _blind(self) -> bool:
        """Whether there are output rows of which every filter row falls on padding."""
        return has_blind_outputs(self.rows)

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
            stride_h=self.rows.stride if self._far else 1,
            stride_w=self.columns.stride,
            dilation_h=self.rows.dilation if self.rows.taps > 1 else 1,
            dilation_w=self.columns.dilation,
            clipped=self.clipped,
            sweeps=self.sweeps,
            span=span,
            low=low,
            high=high if self.sweeps else span,
            runs=() if self.sweeps else tile.runs,
            far=self._far,
            chain=self.chain.neutral,
            pairs=self.pairs,
            rounds=self.result.pairs,
        )

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        self._tell()
        if self.result.pairs:
            self.context.library.use(BFLOAT16)
        writer = Writer()
        steps = [InferenceStep(self.name, self.result.layout.block_count * self.rows.out)]
        if self.fills_scratch:
            steps.insert(0, InferenceStep(self.source.name, self.given.layout.block_count))
            writer.lines(write_chain_step(self.context, self.given, self.source, self.prologue, self.store()))
            writer.line()
        how = f"a share of the {'rows of blocks' if self.rows.out > 1 else 'blocks'}. {sentence(self.algorithm())}"
        self.body.write(
            writer, self.body.hint(self.kernel.replace("-", "_")), self.body.description(how), self._write_body
        )
        return LayerCode(
            name=self.name,
            algorithm=self.algorithm(),
            steps=tuple(steps),
            text=writer.text(),
            arrays=(
                *self.weights.fields(),
                *self.chain.fields(self.result.layout),
                *self.prologue.fields(self.given.layout),
            ),
            packs=(
                self.weights.pack(),
                *self.chain.packs(self.result.layout),
                *self.prologue.packs(self.given.layout),
            ),
            edge_classes=tuple(sorted(self.edge_classes())),
        )

    def _tell(self) -> None:
        """Tell what was decided."""
        decided = self.context.decided
        decided(self.sweeping)
        if self.op.zeros.columns:
            decided(Bordering.COPIED)
        if self.columns.is_padded:
            decided(Bordering.COLUMNS)
        if self.rows.is_padded:
            decided(Bordering.BLIND if self._blind else Bordering.CLIPPED)
        if self.pairs:
            decided(Pairing.STORED if self.given.pairs else Pairing.ROUNDED)
        if self.result.pairs:
            decided(Pairing.RESULT)
        tell_packing(self.op, decided)
        tell_steps(decided, Chaining.FIRST, self.op.prologue, self.chain.steps)

    def _write_body(self, writer: Writer) -> None:
        """Write the constants and the loop over rows of output blocks."""
        if self.routine(self.tiles[0]).permutes:
            self._write_lanes(writer)
        if used := self.routine(self.tiles[0]).sizes():
            sizes = {
                "channels": Constant(self.inputs),
                "inputRow": extent(self.source.shape.width, 16),
                "prefetchPixels": Constant(-(-span_of(self.columns, self.tiles[0].size) // self.inputs)),
            }
            writer.enumeration("static const Sizes sizes = {", [f".{name} = {sizes[name]}" for name in used], "};")
        with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
            rows, item = self.rows.out, Name("item")
            indices = [f"block = {item // rows}", *([f"y = {item % rows}"] if rows > 1 else [])]
            if self.clipped:
                indices.append(f"origin = {self._origin()}")
            note = " /* origin: input row under filter row 0 */" if self.clipped else ""
            writer.line(f"const ptrdiff_t {', '.join(indices)};{note}")
            weights = self.body.weights_of(self.node) + _BLOCK * self.weights.block_extent
            writer.assign("const float *w", str(weights))
            writer.assign("const float *bias", str(self.body.biases_of(self.node) + _BLOCK * LANES))
            if self.clipped:
                write_tap_bounds(writer, self.rows)
            if self._blind:
                row = Conditional(Less(Name("top"), Name("bottom")), first_row(self.rows), ZERO)
                writer.line(f"const ptrdiff_t topRow = {row}; /* nothing is read if no filter row is inside */")
            self._write_calls(writer)

    def algorithm(self) -> str:
        """The algorithm in a few words."""
        sizes = " or ".join(str(size) for size in sorted({tile.size for tile in self.tiles}, reverse=True))
        match self.spread:
            case Spread.SAME:
                how = "channels stay in their lanes"
            case Spread.COPIED:
                how = f"each {'pair' if self.pairs else 'channel'} copied to {self.outputs} lanes"
            case Spread.PERMUTED:
                how = f"{self.inputs} {'pairs of ' if self.pairs else ''}inputs per group permuted"
            case _:
                assert_never(self.spread)
        stored = ", results stored as pairs of bfloat16" if self.result.pairs else ""
        return f"{self.kernel}, 16 outputs x {sizes} pixels in registers, {how}{stored}"

    def edge_classes(self) -> set[str]:
        """Names of the edge cases that this layer has."""
        size, place = (SWEEP_TILE, SWEEPS) if self.sweeps else (TAP_TILE, TAPS)
        classes = {size(tile.size) for tile in self.tiles}
        classes |= {place(self.routine(tile).edge or "inside") for tile in self.tiles}
        classes |= {FAR()} if self._far else set()
        classes |= self.group_classes()
        classes |= {RATIO("one" if self.ratio == 1 else "several")}
        classes.add(OUTPUT_TAIL(self.node.to_channels % LANES))
        classes |= set() if self.result.layout.regular else {SEGMENTS()}
        classes |= {SHUFFLED()} if self.op.shuffled else set()
        return classes | ({CLIPPED()} if self.rows.is_padded else set())

    def group_classes(self) -> set[str]:
        """The edge class of the inputs of a group."""
        return {GROUP_INPUTS(self.inputs)} if self.inputs > 1 else set()

    def _write_lanes(self, writer: Writer) -> None:
        """Write for each output block that reads the same input block where each lane finds its group's first input."""
        rows = []
        for block in range(lane_rows(self.inputs, self.outputs, self.node.to_channels)):
            groups = ((block * LANES + lane) // self.outputs for lane in range(LANES))
            rows.append("{" + ", ".join(str(group * self.inputs) for group in groups) + "}")
        writer.comment("for each output lane, the input lane that holds the first input of its group")
        if len(rows) == 1:
            writer.line(f"static const int lanes[1][{LANES}] = {{{rows[0]}}};")
            return
        with writer.block(f"static const int lanes[{len(rows)}][{LANES}] =", "};"):
            for row in rows:
                writer.line(f"{row},")

    @property
    def _row(self) -> Expression:
        """Index of the output row."""
        return Name("y") if self.rows.out > 1 else ZERO

    def _origin(self) -> Expression:
        """The input row under filter row 0 for output row y."""
        return self._row * self.rows.stride - self.rows.before

    def _write_calls(self, writer: Writer) -> None:
        phase = _BLOCK % self.ratio
        for tile, count in repeats(self.repeats, self.routine):
            routine = self.routine(tile)
            loop = f"for (ptrdiff_t x = {tile.start}; x < {tile.start + count * tile.size}; x += {tile.size})"
            with writer.loop(loop) if count > 1 else contextlib.nullcontext():
                column = Name("x") if count > 1 else Constant(tile.start)
                pixel = (column,) if self.flat else (self._row, column)
                arguments: list[Expression | str] = [
                    self._source(tile, column),
                    "w",
                    "bias",
                    self.body.result_at(self.result, _BLOCK, *pixel),
                    *self.chain.arguments(_BLOCK, *pixel),
                    *(["top", "bottom"] if self.clipped else []),
                    *([Name("lanes").at(phase)] if routine.permutes else []),
                ]
                add_operands(self.context.library, prefetching=routine.far)
                if routine.sweeps:
                    self.context.library.add("IN_REGISTER", lambda _: IN_REGISTER)
                shared = self.context.library.add(routine.hint, routine.write, routine)
                writer.statement(shared, [*arguments, *([f"&{SIZES}"] if routine.sizes() else [])], ";")

    def _source(self, tile: PixelTile, column: Expression) -> Expression:
        """The first input inside the picture that a tile sees; `column` is that of its first output."""
        rows, columns = self.rows, self.columns
        row: tuple[Expression, ...] = () if self.flat else (self._row * rows.stride,)
        if self.clipped:
            row = (Name("topRow") if self._blind else first_row(rows),)
        place = column * columns.stride + (inside(columns, tile)[0] - columns.before)
        return self.body.tensor(self.source).at(_BLOCK // self.ratio, *row, place)
