"""How a convolution is cut up: panels of output blocks, tiles of pixels, items of work, and which routine does what."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from nn512.cgen.code import InferenceStep
from nn512.cgen.expressions import Constant, Expression, Name, extent
from nn512.ir import ConvBranch, ConvOp
from nn512.kernels.bodies import StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.conv_cost import weight_bytes
from nn512.kernels.conv_deciding import Bordering, Dividing, Fetching, Panelling, Stacking
from nn512.kernels.conv_tile import MASKED, UNFETCHED, Channels, TileRoutine
from nn512.kernels.deciding import Chaining, Pairing, tell_packing, tell_steps
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED, Edges, tail
from nn512.kernels.interface import Context, Place
from nn512.kernels.packing import ConvWeights
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.tiles import BFLOAT16_TARGET, EDGE_WORDS
from nn512.plan.conv_geometry import TILE_PIXELS, Axis, PixelTile, Repeat, Run, axes, has_blind_outputs, pixel_tiles
from nn512.plan.layout import LANES, Layout, blocks_of

# Blocks of outputs that are summed in registers at a time, for TILE_PIXELS pixels. 4 blocks for 6 pixels are up to 1 %
# faster on a single 1x1 layer at 56x56 (Zen 4), but within a net no layer is.
PANEL_BLOCKS = 2

# More kinds of row tiles than this (wide padding) are not worth their code: then every row is a tile.
MOST_ROW_GROUPS = 4

# A tile of one row of a narrow picture is good enough with so many sums, if the weights of a panel take no more than
# this part of the level 2 cache. 3x3 on 128 channels at 7x7 takes 28.2 us that way and 27.5 with two rows (Zen 4), but
# gcc needs 8.0 s for DenseNet121 instead of 9.9.
ENOUGH_SUMS = 12
NEAR = 6

# Tiles of pixels below which there may be too few for many threads.
FEWEST_TILES = 7

PANEL = Edges("panel", tuple(range(1, PANEL_BLOCKS + 1)))
TILE = Edges(
    "tile", tuple(f"{rows}x{n}" for rows in range(1, TILE_PIXELS + 1) for n in range(1, TILE_PIXELS // rows + 1))
)
ROW_TILE = Edges("tile", tuple(f"1x{pixels}" for pixels in range(1, TILE_PIXELS + 1)))
COLUMNS, INSIDE = Edges("columns", (*EDGE_WORDS, "inside")), Edges("columns", ("inside",))
ROWS = Edges("rows", ("clipped", "top", "bottom", "ends"))
SHARES, FAR, MERGED = Edges("threads share", ("pixels", "panels")), Edges("source far"), Edges("merged")
INPUTS = {
    Channels.WHOLE: Edges("inputs in whole blocks", (0,)),
    Channels.TAIL: Edges("inputs with a tail of", tuple(range(1, LANES))),
    Channels.PLANAR: tail("inputs in planes, tail"),
    Channels.TABLE: tail("inputs in segments, tail"),
    Channels.GROUPS: tail("inputs in groups, tail"),
    Channels.SCATTERED_GROUPS: tail("inputs in groups and segments, tail"),
}
"""By how routines walk over their inputs: what is left over beyond whole blocks of those that an output sees."""

BLOCKED = tuple(family for channels, family in INPUTS.items() if channels is not Channels.PLANAR)
EDGES = (PANEL, TILE, COLUMNS, ROWS, SHARES, FAR, *BLOCKED, OUTPUT_TAIL, MERGED, SHUFFLED)


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
    weights: ConvWeights | PairedWeights
    chain: ChainCode
    panels: tuple[Panels, ...]


class ConvBlocking:
    """The numbers of one layer while it is written.

    A prologue is a first step that fills scratch memory, unless a kernel has a better way (`input_in_scratch`). In
    `pairs` what tiles read, and weights, are pairs of bfloat16, each counted as one channel of the `source`. Steps
    have a pointer to the parameters where there are batch norms, or always (`names_net`). Tensors are indexed by pixels
    where several rows count as one, or always (`only_pixels`).
    """

    kernel = "direct"
    input_in_scratch = True
    pairs = False
    names_net = False
    only_pixels = False

    def __init__(self, op: ConvOp, context: Context) -> None:
        self.context = context
        self.op = op
        self.name = op.branches[0].writes
        self.node = op.branches[0].node  # all branches agree in all but output channels
        self.shared = context.shares(self.name)
        self.prologue = ChainCode(op.prologue, shared=self.shared and not self.input_in_scratch)
        self.given = context.places[op.source]
        self.source = context.places[self.scratch] if self.fills_scratch else self.given.stored
        result = context.places[self.name]
        self.rows, self.columns = self._axes(result)
        self.flat = self.only_pixels or result.shape.height > self.rows.out  # the picture as one row
        self.padded = self.rows.is_padded or self.columns.is_padded
        self.repeats = tuple(pixel_tiles(self.columns, TILE_PIXELS))
        self.tiles = tuple(tile for tile, _ in self.repeats)  # of neighbours that are alike the first
        self.tile_count = sum(times for _, times in self.repeats)
        self.inputs = self.source.shape.channels // self.node.groups
        self.channels = self._channels()
        self.row_groups = self._stacked()
        self.clipped = self.row_groups[0].tile.size == 1 and self.rows.is_padded
        self.branches = tuple(self._branch(branch) for branch in op.branches)
        dividing = self._dividing()
        self.by_pixels = dividing in {Dividing.PIXELS, Dividing.ONCE}
        context.decided(dividing)
        self._tell()
        before = ChainCode(()) if self.input_in_scratch else self.prologue
        after = tuple(branch.chain for branch in self.branches)
        self.body = StepFunction(
            context,
            self.source,
            tuple(branch.node for branch in op.branches),
            tuple(branch.result for branch in self.branches),
            before,
            after,
            flat=self.flat,
            net=self.names_net or any(chain.has_parameters for chain in (before, *after)),
            parametric=self._parametric(),
            buffer=f"float (*restrict input)[{self.tiles[0].size}][16]" if before.steps else "",
            target=BFLOAT16_TARGET if self.pairs or self.stores_pairs else "",
        )

    @property
    def stores_pairs(self) -> bool:
        """Whether a result is stored as pairs of bfloat16."""
        return any(branch.result.pairs for branch in self.branches)

    def _axes(self, result: Place) -> tuple[Axis, Axis]:
        """Rows and columns of what tiles read."""
        return axes(self.node, self.source.shape, result.shape, self.op.zeros)

    def _parametric(self) -> bool:
        """Whether the number of input channels can be a parameter, as layers of dense blocks differ in it."""
        dense = self.op.prologue and self.op.is_pointwise and self.node.groups == 1
        return bool(dense) and self.channels is Channels.WHOLE

    def _tell(self) -> None:
        """Tell what was decided about padding, steps, weights and what is fetched."""
        decided = self.context.decided
        if self.op.zeros.columns:
            decided(Bordering.COPIED)
        if self.columns.is_padded:
            decided(Bordering.COLUMNS)
        if self.rows.is_padded:
            decided(Bordering.BLIND if self.blind else Bordering.CLIPPED if self.clipped else Bordering.ROWS)
        decided(self.fetching)
        tell_packing(self.op, decided)
        if self.pairs:
            decided(Pairing.STORED if self.given.pairs else Pairing.ROUNDED)
        if self.stores_pairs:
            decided(Pairing.RESULT)
        epilogue = tuple(step for branch in self.op.branches for step in branch.epilogue)
        tell_steps(decided, Chaining.FIRST if self.input_in_scratch else Chaining.READING, self.op.prologue, epilogue)

    def _dividing(self) -> Dividing:
        """Whether threads share the pixels, and each reads all weights: where weights are less than the source.

        Panels are outermost either way, and stay in a cache while they meet pixel after pixel. To let as many pixels
        as stay in the level 2 cache meet all panels before the next ones do is slower: 1024 -> 512 channels at 14x14
        take 1,822 us that way on Zen 4, and 1,750 this way; no layer of three nets is faster.
        """
        tiles = self.row_tiles if self.row_tiles > 1 else self.tile_count
        if tiles < FEWEST_TILES:
            return Dividing.FEW
        if self.row_tiles == 1 and self.padded:
            return Dividing.EDGES
        weights = weight_bytes(self.op, self.context.setting)
        less = (weights / 2 if self.pairs else weights) < self.source.bytes
        return Dividing.PIXELS if less else Dividing.WEIGHTS

    @cached_property
    def fetching(self) -> Fetching:
        """Whether every panel gets the source from beyond the level 2 cache, as a single row of pixels."""
        if not self.flat:
            return Fetching.ROWS
        if not self.input_in_scratch and self.prologue.steps:
            return Fetching.BUFFER
        if self.channels in UNFETCHED:
            return Fetching.WALK
        return Fetching.FAR if self.source.bytes > self.context.machine.l2_bytes else Fetching.NEAR

    @property
    def far(self) -> bool:
        """Whether pixels are fetched ahead."""
        return self.fetching is Fetching.FAR

    def _channels(self) -> Channels:
        if self.source.layout.lanes < LANES:
            return Channels.PLANAR
        regular = self.source.layout.regular
        outputs = self.node.to_channels // self.node.groups
        if self.node.groups > 1 and not (regular and self.inputs % 16 == 0 and outputs % 16 == 0):
            return Channels.GROUPS if regular else Channels.SCATTERED_GROUPS
        if not regular:
            return Channels.TABLE
        return Channels.TAIL if self.inputs % 16 else Channels.WHOLE

    def _stacked(self) -> tuple[Repeat, ...]:
        """Rows that are computed together: several where the picture is narrow, so that the registers fill.

        With padding that takes a routine for the first rows, one for the last and one for those between; a single row
        does nearly as well if it is not too narrow and the panel's weights, of which it then needs all, are near.
        """
        weights = 4 * PANEL_BLOCKS * LANES * LANES * blocks_of(self.inputs) * self.rows.taps * self.columns.taps
        near = self.rows.is_padded and weights <= self.context.machine.l2_bytes / NEAR
        wide = self.tiles[0].size * PANEL_BLOCKS >= ENOUGH_SUMS
        limit = min(self.rows.out, TILE_PIXELS // self.tiles[0].size)
        groups = tuple(itertools.islice(pixel_tiles(self.rows, limit), MOST_ROW_GROUPS + 1)) if limit > 1 else ()
        if self.tile_count > 1:
            stacking = Stacking.WIDE
        elif self.channels in MASKED:
            stacking = Stacking.MASKED
        elif near and wide:
            stacking = Stacking.ENOUGH
        elif limit <= 1:
            stacking = Stacking.FULL
        elif len(groups) > MOST_ROW_GROUPS:
            stacking = Stacking.KINDS
        else:
            stacking = Stacking.TOGETHER if all(group.tile.runs for group in groups) else Stacking.BLIND
        self.context.decided(stacking)
        return groups if stacking is Stacking.TOGETHER else (Repeat(PixelTile(0, 1, ()), self.rows.out),)

    @property
    def scratch(self) -> str:
        """Name of what the first step fills, where it is one of its own."""
        return self.op.prepared

    @property
    def fills_scratch(self) -> bool:
        """Whether a prologue is a step of its own."""
        return bool(self.prologue.steps) and self.input_in_scratch

    @cached_property
    def row_tiles(self) -> int:
        """Number of tiles from the first row to the last."""
        return sum(group.times for group in self.row_groups)

    @property
    def shares(self) -> int:
        """How many row tiles, or tiles of the only row, share the work of fetching the next weights."""
        return self.row_tiles if self.row_tiles > 1 else self.tile_count

    def share(self, blocks: int) -> int:
        """Cache lines that each of them fetches, of the weights of a tap for a block of inputs and some of outputs."""
        return -(-16 * blocks // self.shares)

    @property
    def prefetched_pixels(self) -> Expression:
        """Pixels of a tile whose results' places are fetched while a block of inputs is summed."""
        pixels = self.row_groups[0].tile.size * self.tiles[0].size
        if self.body.varying:
            return (extent(pixels, LANES) + Name("channels") - 1) // Name("channels")
        return Constant(-(-pixels // blocks_of(self.inputs)))

    @property
    def blind(self) -> bool:
        """Whether there are output rows of which every filter row falls on padding."""
        return self.clipped and has_blind_outputs(self.rows)

    @property
    def _layout_of_weights(self) -> Layout:
        """How the inputs follow each other in the weights: those of a group in blocks, or one after another."""
        if self.channels is Channels.PLANAR:
            return Layout((self.inputs,), lanes=1)
        return self.source.layout if self.node.groups == 1 else Layout((self.inputs,))

    def _branch(self, branch: ConvBranch) -> Branch:
        panels = self._panels(branch)
        weights = self._weights(branch, panels[0].width)
        first = 0 if self.input_in_scratch else len(self.prologue.steps)
        chain = ChainCode(branch.epilogue, first, self.shared)
        return Branch(self.context.places[branch.writes], weights, chain, panels)

    def _weights(self, branch: ConvBranch, panel: int) -> ConvWeights | PairedWeights:
        """The packed weights of a convolution, so many blocks of outputs together."""
        return ConvWeights(
            node=branch.node,
            inputs=self.inputs,
            layout=self._layout_of_weights,
            panel=panel,
            shared=self.channels in MASKED,
            shuffled=self.op.shuffled,
            normalized=self.op.normalized,
            folded=branch.folded,
        )

    def _panels(self, branch: ConvBranch) -> tuple[Panels, ...]:
        node = branch.node
        blocks = blocks_of(node.to_channels)
        decided = self.context.decided
        if self.channels in MASKED:
            decided(Panelling.MASKED)
            return (Panels(1, blocks, 0),)
        if node.groups > 1:
            even = node.to_channels // node.groups % (16 * PANEL_BLOCKS) == 0
            width = PANEL_BLOCKS if even else 1
            decided(Panelling.TWO if even else Panelling.GROUPS)
            return (Panels(width, blocks // width, 0),)
        whole, rest = divmod(blocks, PANEL_BLOCKS)
        result = [Panels(PANEL_BLOCKS, whole, 0)] if whole else []
        if whole:
            decided(Panelling.TWO)
        if rest:
            decided(Panelling.REST)
            result.append(Panels(rest, 1, blocks - rest))
        return tuple(result)

    @cached_property
    def panel_count(self) -> int:
        """Number of kinds of panels of all branches, each of which has a loop."""
        return sum(len(branch.panels) for branch in self.branches)

    @cached_property
    def fetched(self) -> int | None:
        """Cache lines that a tile fetches for a tap, where that is the same for all panels."""
        shares = {self.share(panels.width) for branch in self.branches for panels in branch.panels}
        return shares.pop() if len(shares) == 1 else None

    @cached_property
    def items(self) -> int:
        """Units of work: tiles of pixels, or rows of panels."""
        if self.by_pixels:
            return self.row_tiles if self.row_tiles > 1 else self.tile_count
        return sum(panels.count for branch in self.branches for panels in branch.panels) * self.row_tiles

    def routine(self, branch: Branch, panels: Panels, tile: PixelTile, row_tile: PixelTile) -> TileRoutine:
        """The tile routine for a tile of a panel."""
        row_runs = row_tile.runs or (Run(0, self.rows.taps, 0, 1),)
        pixels, runs = tile.size, tile.runs
        if row_tile.size == 1:  # a parameter of the routine
            pixels = TILE_PIXELS
            runs = tuple(run._replace(high=run.high + pixels - tile.size) for run in runs)
        return TileRoutine(
            blocks=panels.width,
            rows=row_tile.size,
            pixels=pixels,
            filter_h=self.rows.taps,
            filter_w=self.columns.taps,
            stride_h=self.rows.stride if row_tile.size > 1 else 1,
            stride_w=self.columns.stride,
            dilation_h=self.rows.dilation if self.rows.taps > 1 else 1,
            dilation_w=self.columns.dilation,
            clipped=self.clipped,
            row_runs=() if self.clipped else row_runs,
            runs=runs,
            channels=self.channels,
            lanes=self.source.layout.lanes,
            far=self.far,
            chain=branch.chain.neutral,
            prologue=ChainCode(()) if self.input_in_scratch else self.prologue.neutral,
            pairs=self.pairs,
            lone=False,
            rounds=branch.result.pairs,
        )

    def steps(self) -> tuple[InferenceStep, ...]:
        """The step functions and their items."""
        main = InferenceStep(self.name, self.items)
        if self.fills_scratch:
            return (InferenceStep(self.source.name, self.given.layout.block_count), main)
        return (main,)

    @property
    def plane(self) -> Expression:
        """Floats from one input block to the next."""
        return extent(self.source.shape.height, self.source.shape.width, self.source.layout.lanes)

    def algorithm(self) -> str:
        """The algorithm in a few words."""
        sizes = " or ".join(str(size) for size in sorted({tile.size for tile in self.tiles}, reverse=True))
        widths = sorted({p.width for branch in self.branches for p in branch.panels}, reverse=True)
        outputs = " or ".join(str(16 * width) for width in widths)
        lanes = ", lanes masked by group" if self.channels in MASKED else ""
        stored = ", results stored as pairs of bfloat16" if self.stores_pairs else ""
        return f"{self.kernel}, {outputs} outputs x {sizes} pixels in registers{lanes}{stored}"

    def edge_classes(self) -> set[str]:
        """Names of the edge cases that this layer has."""
        branch, row_tiles = self.branches[0], [group.tile for group in self.row_groups]
        classes = {PANEL(panels.width) for branch in self.branches for panels in branch.panels}
        classes |= {TILE(f"{rows.size}x{columns.size}") for rows in row_tiles for columns in self.tiles}
        routines = [self.routine(branch, branch.panels[0], tile, rows) for tile in self.tiles for rows in row_tiles]
        classes |= {COLUMNS(routine.edge or "inside") for routine in routines}
        classes |= {ROWS(routine.row_edge) for routine in routines if routine.row_edge}
        classes |= {ROWS("clipped")} if self.clipped else set()
        classes.add(SHARES("pixels" if self.by_pixels else "panels"))
        classes |= {FAR()} if self.far else set()
        classes.add(INPUTS[self.channels](self.inputs % LANES))
        classes |= {OUTPUT_TAIL(branch.result.shape.channels % LANES) for branch in self.branches}
        classes |= {MERGED()} if len(self.branches) > 1 else set()
        classes |= {SHUFFLED()} if self.op.shuffled else set()
        return classes
