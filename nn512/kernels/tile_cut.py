"""How a layer is cut into tiles that an algorithm computes as a whole, and what that costs: Winograd's and Fourier's.

Such an algorithm transforms a tile of inputs, 16 channels at a time, into factors; at each of the tile's positions the
factors of all input channels meet transformed weights; sums of products are transformed into a tile of results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar, assert_never

from nn512.cgen.code import LayerCode
from nn512.graph.nodes import Conv, Shape
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body
from nn512.kernels.conv_cost import prepared_source, tensor_bytes
from nn512.kernels.deciding import Chaining, Choosing, Narrowing, Packing
from nn512.kernels.edges import INPUT_TAIL, OUTPUT_TAIL, SHUFFLED, Edges, tail
from nn512.kernels.full_panel import Stored
from nn512.kernels.interface import Context, Kernel, Place, Setting
from nn512.plan.accuracy import BFLOAT16_ERROR, HALF_ERROR
from nn512.plan.conv_geometry import axes
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import LANES, Layout, blocks_of
from nn512.plan.plan import PlannedAxis
from nn512.plan.tile_grid import GridAxis, TileGrid
from nn512.plan.workspace import Scratch, Workspace

CLIPPED = 1.6
"""How much longer it takes to transform a tile that hangs over an edge of the picture."""

PASS_CYCLES = 20
"""Cycles to begin and end a pass over the input channels, beside storing its sums."""


COMPUTED = Edges("tiles", ("in steps", "in blocks"))
INSIDE, CLIPS, GROUPS = Edges("inside"), Edges("clipped"), Edges("groups")
SEGMENTS = tail("inputs in segments, tail")


class Refusing(Decision):
    """Why these kernels do not take a layer."""

    DILATED = "refused: the filter is dilated"
    MERGED = "refused: there are several convolutions"
    THINNED = "refused: some pixels are not computed"
    SEGMENTS = "refused: groups of channels stand in segments"
    GROUPS = "refused: groups are no whole blocks"


ERRORS: Mapping[Stored, float] = MappingProxyType(
    {Stored.FLOATS: 0.0, Stored.HALVES: HALF_ERROR, Stored.PAIRS: BFLOAT16_ERROR}
)
"""What the rounding of factors and transformed weights errs, relative to these."""


class Computing(Decision):
    """Whether transforms and products are steps of their own."""

    STEPS = "there are few tiles: threads share three steps"
    GROUPS = "threads share blocks of tiles: there are groups"
    MANY = "threads share blocks of tiles: there are many"


class Reading(Decision):
    """Which routines read tiles."""

    INSIDE = "all tiles are inside the picture, and read without masks"
    CLIPPED = "all tiles may hang over an edge, and are read with masks"
    BOTH = "tiles inside the picture have a routine of their own"


class Storing(Decision):
    """How results are stored."""

    WHOLE = "all results of tiles are in the picture"
    RAGGED = "results of the last tiles outside the picture are not stored"


class TileAlgorithm(Protocol):
    """What an algorithm does to a tile, for filters of one size. Pairs are rows and columns."""

    @property
    def outputs(self) -> tuple[int, int]:
        """Results of a tile."""

    @property
    def windows(self) -> tuple[int, int]:
        """Cells of the picture from the first that a tile reads to the last."""

    @property
    def phases(self) -> int:
        """Interleaved parts of what a tile sees that are transformed by themselves and count as channels."""

    @property
    def positions(self) -> int:
        """Elements of a transformed tile, real numbers."""

    @property
    def multiplications(self) -> int:
        """Products of real numbers for a tile, an input channel and an output."""

    @property
    def weight_uses(self) -> int:
        """Products of a tile for which a weight is loaded once."""

    @property
    def longest_pass(self) -> int:
        """Tiles that are summed at a time with two blocks of outputs."""

    def most_tiles(self, vectors: int, cache: int) -> int:
        """Tiles of a block at most, which take so many vectors each at a position, with so many bytes of cache."""

    @property
    def few_tiles(self) -> int:
        """Up to so many tiles are computed in three steps that threads share, instead of block by block."""

    @property
    def input_operations(self) -> int:
        """Vector operations that transform a tile of 16 input channels, loads and stores included."""

    @property
    def result_operations(self) -> int:
        """The same for the products of a tile and 16 outputs."""

    @property
    def name(self) -> str:
        """Part of the names of routines."""

    @property
    def title(self) -> str:
        """The algorithm in words."""

    @property
    def axes(self) -> tuple[PlannedAxis, PlannedAxis]:
        """What the plan says of it."""


T = TypeVar("T", bound=TileAlgorithm)


@dataclass(frozen=True, slots=True)
class TileCut:
    """A layer cut into tiles: their grid, blocks of tiles, and what memory their factors and products take.

    `source` is what is read, `input_blocks` and `output_blocks` are those of one group, every phase counted;
    blocks have `most_tiles` at most. The factors of 16 channels stand in `factor_lanes` floats.
    """

    tile: TileAlgorithm
    grid: TileGrid
    source: Place
    groups: int
    input_blocks: int
    output_blocks: int
    most_tiles: int
    factor_lanes: int

    @classmethod
    def of(cls, op: ConvOp, setting: Setting, tile: TileAlgorithm, stored: Stored) -> TileCut:
        """The cut of a layer."""
        source, result, node = setting.places[op.source], setting.places[op.branches[0].writes], op.node
        rows, columns = axes(node, source.shape, result.shape, op.zeros)
        grid = TileGrid(
            GridAxis(rows, tile.outputs[0], tile.windows[0]),
            GridAxis(columns, tile.outputs[1], tile.windows[1]),
        )
        outputs = blocks_of(node.to_channels // node.groups)
        inputs = tile.phases * source.layout.block_count // node.groups
        most = tile.most_tiles(inputs + outputs, setting.machine.l2_bytes)
        return cls(tile, grid, source, node.groups, inputs, outputs, most, stored.input_lanes)

    @property
    def computing(self) -> Computing:
        """Whether transforms and products are steps of their own, and why not."""
        if self.groups > 1:
            return Computing.GROUPS
        return Computing.STEPS if self.grid.count <= self.tile.few_tiles else Computing.MANY

    @property
    def in_steps(self) -> bool:
        """Whether transforms and products are steps of their own."""
        return self.computing is Computing.STEPS

    @property
    def tile_blocks(self) -> int:
        """Blocks of tiles."""
        return 1 if self.in_steps else -(-self.grid.count // self.most_tiles)

    @property
    def items(self) -> int:
        """Blocks of tiles of all groups."""
        return self.groups * self.tile_blocks

    @property
    def block_tiles(self) -> int:
        """Tiles of the first blocks; those of the last ones may be one less."""
        return -(-self.grid.count // self.tile_blocks)

    @property
    def larger_blocks(self) -> int:
        """How many blocks, the first ones, have that many tiles, where not all do."""
        return self.grid.count % self.tile_blocks

    @property
    def factor_row(self) -> int:
        """Vectors from the factors of one position to those of the next: one more than there are, for the cache."""
        return -(-self.input_blocks * self.block_tiles * self.factor_lanes // LANES) + 1

    @property
    def factor_cells(self) -> int:
        """Places for the factors of 16 channels in such a row."""
        return self.factor_row * LANES // self.factor_lanes

    @property
    def product_row(self) -> int:
        """The same for the sums of products."""
        return self.output_blocks * self.block_tiles + 1

    @property
    def thread_vectors(self) -> int:
        """Memory of a thread."""
        return self.tile.positions * (self.factor_row + self.product_row)


@dataclass(frozen=True, slots=True)
class TileVariant(ABC, Generic[T]):
    """A kernel for convolutions that computes tiles; `stored` is the format of its weights."""

    stored: Stored
    arithmetic: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the kernel."""

    @property
    @abstractmethod
    def decisions(self) -> tuple[Decision, ...]:
        """What the algorithm may decide."""

    @abstractmethod
    def tile(self, node: Conv) -> T | Decision:
        """What is done to a tile, or why there is no way to do that for such a convolution."""

    def tile_of(self, node: Conv) -> T:
        """What is done to a tile of a convolution that the variant takes."""
        tile = self.tile(node)
        assert not isinstance(tile, Decision), tile
        return tile

    @abstractmethod
    def amplification(self, node: Conv) -> float:
        """How much larger the relative error of results is than that of transformed weights."""

    @abstractmethod
    def most(self, blocks: int) -> int:
        """Tiles that are summed together at most, with so many blocks of outputs."""

    @property
    @abstractmethod
    def filters(self) -> tuple[Edges, ...]:
        """Edge classes by the size of the filter: families of them."""

    @property
    @abstractmethod
    def overhangs(self) -> tuple[Edges, Edges]:
        """Edge classes by how many rows, and columns, of results of the last tile are outside the picture."""

    @abstractmethod
    def filter_classes(self, node: Conv) -> tuple[str, ...]:
        """Those that a layer has."""

    @property
    def edges(self) -> tuple[Edges, ...]:
        """All families of edge classes."""
        summed = tuple(passes(self, blocks) for blocks in (1, 2))
        common = (COMPUTED, INSIDE, CLIPS, *self.overhangs, INPUT_TAIL, SEGMENTS, SHUFFLED, OUTPUT_TAIL, GROUPS)
        return (*self.filters, *summed, *common)

    @abstractmethod
    def emit(self, op: ConvOp, context: Context) -> LayerCode:
        """The code of a layer."""

    def refuses(self, op: ConvOp, setting: Setting) -> Decision | None:
        """Why the variant cannot compute a layer, if so.

        It must compute all pixels of the node: the reference lays the tiles, by whose errors it judges, over all.
        """
        node, source = op.node, setting.places[op.source]
        assert source.layout.lanes == LANES, "kernels are asked before convolutions read what callers have"
        if (node.dilation_h, node.dilation_w) != (1, 1):
            return Refusing.DILATED
        if len(op.branches) > 1:
            return Refusing.MERGED
        if setting.shapes[node.to_tensor] != setting.graph.shapes[node.to_tensor]:
            return Refusing.THINNED
        if node.groups > 1 and not source.layout.regular:
            return Refusing.SEGMENTS
        inputs, outputs = source.shape.channels // node.groups, node.to_channels // node.groups
        if node.groups > 1 and (inputs % LANES or outputs % LANES):
            return Refusing.GROUPS
        if isinstance(tile := self.tile(node), Decision):
            return tile
        if self.stored is Stored.HALVES and setting.weights != "fp16":
            return Narrowing.WEIGHTS
        return Narrowing.NORMALIZED if self.stored is not Stored.FLOATS and op.normalized else None

    def cut(self, op: ConvOp, setting: Setting) -> TileCut:
        """How a layer is cut into tiles."""
        return TileCut.of(op, setting, self.tile_of(op.node), self.stored)

    def work(self, op: ConvOp, setting: Setting) -> Work:
        """What the layer costs: products, weights, and the transforms."""
        cut, moved = self.cut(op, setting), tensor_bytes(op, setting)
        if op.prologue:
            moved += 2 * EXPOSED * 64.0 * cut.source.layout.block_count * cut.source.shape.pixels
        tile, tiles = cut.tile, cut.grid.count
        products = cut.input_blocks * self.stored.input_lanes * blocks_of(op.node.to_channels) * LANES
        transformed = cut.grid.inside + CLIPPED * (tiles - cut.grid.inside)
        transforms = (
            transformed * tile.phases * cut.source.layout.block_count * tile.input_operations
            + tiles * blocks_of(op.node.to_channels) * tile.result_operations
        )
        weights = 4.0 * tile.positions * products
        if self.stored is Stored.HALVES and weights > setting.machine.l2_bytes / 4:  # smaller ones wait in a cache
            weights /= 2
        passes = cut.tile_blocks
        if weights > setting.machine.l2_bytes:  # read again for every block of tiles, from the next cache
            moved += (passes - 1) * weights
        summed = 2 * tile.weight_uses * min(tile.longest_pass, cut.block_tiles)
        step = summed + (3.0 if self.stored is Stored.HALVES else 1.0)  # weights are loaded, and halves converted
        inputs = cut.input_blocks * self.stored.input_lanes
        efficiency = summed * inputs / (step * inputs + 2 * summed + PASS_CYCLES)
        items = 0 if cut.in_steps else cut.items
        return Work(float(products * tile.multiplications * tiles), efficiency, weights, moved, transforms, items)

    def added_error(self, op: ConvOp, setting: Setting) -> float:
        """See `Kernel`."""
        del setting
        return ERRORS[self.stored] * self.amplification(op.node)

    def workspace(self, op: ConvOp, setting: Setting) -> Workspace:
        """The transformed tiles and their products, and the source after a prologue."""
        cut, prepared = self.cut(op, setting), prepared_source(op, setting)
        if not cut.in_steps:
            return Workspace(prepared.shared, cut.thread_vectors)
        scratch = (
            Scratch(
                f"{op.name}_{word}",
                Shape(lanes * cut.tile.positions, 1, row),
                Layout((lanes * cut.tile.positions,), lanes),
            )
            for word, lanes, row in (
                ("factors", cut.factor_lanes, cut.factor_cells),
                ("products", LANES, cut.product_row),
            )
        )
        return Workspace((*prepared.shared, *scratch))

    @property
    def _narrow(self) -> tuple[Decision, ...]:
        """What it may decide because of the format of its weights."""
        match self.stored:
            case Stored.FLOATS:
                return ()
            case Stored.HALVES:
                return (*Narrowing, Choosing.INEXACT)
            case Stored.PAIRS:
                return (Narrowing.NORMALIZED, Choosing.PLATFORM)
            case _:
                assert_never(self.stored)

    def kernel(self) -> Kernel[ConvOp]:
        """The variant as a kernel."""
        return Kernel(
            self.name,
            ConvOp,
            self.work,
            self.emit,
            self.refuses,
            self.workspace,
            weights=self.stored.format,
            arithmetic=self.arithmetic,
            edges=self.edges,
            decisions=(
                *(*Refusing, *self.decisions, *self._narrow, *Computing, *Reading, *Storing, *Packing),
                *(Chaining.FIRST, Chaining.WRITING, Body.OWN, Body.LONE, Body.SHARED),
            ),
            family=self.arithmetic,
            platform="AVX512BFloat16" if self.stored is Stored.PAIRS else "",
            added_error=self.added_error,
        )


def overhang(axis: str, values: Iterable[int | str]) -> Edges:
    """The edge classes by how much of the last tile is outside the picture."""
    return Edges(f"overhang of {axis}", tuple(values))


def passes(variant: TileVariant[Any], blocks: int) -> Edges:
    """The edge classes by how many tiles are summed together, with so many blocks of outputs."""
    return Edges(f"pass of {blocks} x", tuple(range(1, variant.most(blocks) + 1)))
