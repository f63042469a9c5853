"""Winograd convolution: tiles of results from fewer products, by the algorithms of `nn512.algebra.cook_toom`.

A tile of inputs, 16 channels at a time, is transformed into factors; at each of the tile's positions the factors of all
input channels meet transformed weights in a small matrix product, which runs like a pointwise convolution over tiles;
sums of products are transformed into results, with biases and element-wise steps. Stride 1, filters of up to 7 taps.

Where there are many tiles, threads share blocks of them, and each does all of that for a block in memory of its own,
which stays in its nearest caches. A small picture has too few tiles for that, and its weights take longer than they do:
then each part is a step of its own, in memory that all threads see, and threads share positions and blocks of channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nn512.algebra.cook_toom import cook_toom, is_known
from nn512.cgen.code import InferenceStep, LayerCode, PackCall, PackedArray
from nn512.cgen.expressions import ZERO, Conditional, Constant, Expression, Less, Name, extent, least
from nn512.cgen.writer import Writer, sentence
from nn512.graph.nodes import Conv, Shape
from nn512.ir import ConvOp
from nn512.kernels.bodies import StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.conv_cost import prepared_source, tensor_bytes
from nn512.kernels.elementwise import write_chain_step
from nn512.kernels.interface import Context, Kernel, Place, Setting
from nn512.kernels.packing import ROUTINES, conv_arguments, norms_of, segments_of
from nn512.kernels.products import LONGEST_PASS, ProductRoutine
from nn512.kernels.winograd_transforms import InputRoutine, ResultRoutine, TileTransform
from nn512.plan.conv_geometry import axes
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import LANES, Layout, blocks_of
from nn512.plan.plan import PlannedAxis, PlannedTiles
from nn512.plan.tile_grid import GridAxis, TileGrid
from nn512.plan.workspace import Scratch, Workspace

Cell = Callable[[Expression, Expression], Expression]
"""Where a vector of factors or of products is: by its position, and its number among those of the position."""

PANEL_BLOCKS = 2
"""Blocks of outputs that are summed in registers at a time."""

FEW_TILES = 28
"""Up to so many tiles are computed in three steps that threads share, instead of block by block."""

CLIPPED = 1.6
"""How much longer it takes to transform a tile that hangs over an edge of the picture."""

PASS_CYCLES = 20
"""Cycles to begin and end a pass over the input channels, beside storing its sums."""

PREFETCH_BYTES = 4096
"""How far ahead weights are fetched: farther would drive other data out of a level 1 cache of 32 KiB."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel: results of a tile, rows x columns, for filters with several rows and columns; format of weights.

    Along an axis where the filter has one tap, tiles have one result.
    """

    rows: int
    columns: int
    halves: bool

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return f"winograd-{self.rows}x{self.columns}{'-fp16' if self.halves else ''}"

    def tile(self, node: Conv) -> TileTransform | None:
        """The transforms for a filter; None where there are none, or another variant has the same."""
        rows = 1 if node.filter_h == 1 else self.rows
        columns = 1 if node.filter_w == 1 else self.columns
        if not (is_known(rows, node.filter_h) and is_known(columns, node.filter_w)) or rows * columns == 1:
            return None
        if self.rows != self.columns and 1 in (rows, columns):
            return None
        return TileTransform(cook_toom(rows, node.filter_h), cook_toom(columns, node.filter_w))

    def applies(self, op: ConvOp, setting: Setting) -> bool:
        """Whether the variant can compute a layer."""
        node, source = op.node, setting.places[op.source]
        if (node.stride_h, node.stride_w, node.dilation_h, node.dilation_w) != (1, 1, 1, 1) or len(op.branches) > 1:
            return False
        inputs, outputs = source.shape.channels // node.groups, node.to_channels // node.groups
        aligned = inputs % LANES == 0 and outputs % LANES == 0 and source.layout.regular
        if source.layout.lanes != LANES or (node.groups > 1 and not aligned):
            return False
        return self.tile(node) is not None and not (self.halves and (setting.weights != "fp16" or op.normalized))

    def cut(self, op: ConvOp, setting: Setting) -> TileCut:
        """How a layer is cut into tiles."""
        tile = self.tile(op.node)
        assert tile is not None
        return TileCut.of(op, setting, tile)

    def work(self, op: ConvOp, setting: Setting) -> Work:
        """What the layer costs: products, weights, and the transforms."""
        cut, moved = self.cut(op, setting), tensor_bytes(op, setting)
        if op.prologue:
            moved += 2 * EXPOSED * 64.0 * cut.source.layout.block_count * cut.source.shape.pixels
        positions, tiles = cut.tile.positions, cut.grid.count
        products = cut.input_blocks * LANES * blocks_of(op.node.to_channels) * LANES
        transformed = cut.grid.inside + CLIPPED * (tiles - cut.grid.inside)
        transforms = (
            transformed * cut.source.layout.block_count * cut.tile.input_operations
            + tiles * blocks_of(op.node.to_channels) * cut.tile.result_operations
        )
        weights = (2.0 if self.halves else 4.0) * positions * products
        passes = cut.tile_blocks
        if weights > setting.machine.l2_bytes:  # read again for every block of tiles, from the next cache
            moved += (passes - 1) * weights
        summed = PANEL_BLOCKS * min(LONGEST_PASS, cut.block_tiles)
        step = summed + (2.4 if self.halves else 1.0)  # weights are loaded, and halves converted
        inputs = cut.input_blocks * LANES
        efficiency = summed * inputs / (step * inputs + 2 * summed + PASS_CYCLES)
        items = 0 if cut.in_steps else cut.items
        return Work(float(products * positions * tiles), efficiency, weights, moved, transforms, items)

    def workspace(self, op: ConvOp, setting: Setting) -> Workspace:
        """The transformed tiles and their products, and the source after a prologue."""
        cut, prepared = self.cut(op, setting), prepared_source(op, setting)
        if not cut.in_steps:
            return Workspace(prepared.shared, cut.thread_vectors)
        scratch = (
            Scratch(
                f"{op.name}_{word}", Shape(LANES * cut.tile.positions, 1, row), Layout((LANES * cut.tile.positions,))
            )
            for word, row in (("factors", cut.factor_row), ("products", cut.product_row))
        )
        return Workspace((*prepared.shared, *scratch))

    def kernel(self) -> Kernel[ConvOp]:
        """The variant as a kernel."""

        def emit(op: ConvOp, context: Context) -> LayerCode:
            return WinogradLayer(op, context, self).emit()

        weights = "fp16" if self.halves else "fp32"
        return Kernel(
            self.name, ConvOp, self.work, emit, self.applies, self.workspace, weights=weights, arithmetic="winograd"
        )


@dataclass(frozen=True, slots=True)
class TileCut:
    """A layer cut into tiles: their grid, blocks of tiles, and what memory their factors and products take.

    `source` is what is read, `input_blocks` and `output_blocks` are those of one group.
    """

    tile: TileTransform
    grid: TileGrid
    source: Place
    groups: int
    input_blocks: int
    output_blocks: int

    @classmethod
    def of(cls, op: ConvOp, setting: Setting, tile: TileTransform) -> TileCut:
        """The cut of a layer."""
        source, result, node = setting.places[op.source], setting.places[op.branches[0].writes], op.node
        rows, columns = axes(node, source.shape, result.shape, op.zeros)
        grid = TileGrid(
            GridAxis(rows, tile.rows.outputs, tile.rows.products),
            GridAxis(columns, tile.columns.outputs, tile.columns.products),
        )
        outputs = blocks_of(node.to_channels // node.groups)
        return cls(tile, grid, source, node.groups, source.layout.block_count // node.groups, outputs)

    @property
    def in_steps(self) -> bool:
        """Whether transforms and products are steps of their own."""
        return self.groups == 1 and self.grid.count <= FEW_TILES

    @property
    def tile_blocks(self) -> int:
        """Blocks of tiles."""
        return 1 if self.in_steps else -(-self.grid.count // LONGEST_PASS)

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
        return self.input_blocks * self.block_tiles + 1

    @property
    def product_row(self) -> int:
        """The same for the sums of products."""
        return self.output_blocks * self.block_tiles + 1

    @property
    def thread_vectors(self) -> int:
        """Memory of a thread."""
        return self.tile.positions * (self.factor_row + self.product_row)


class WinogradLayer:
    """The text of one layer."""

    def __init__(self, op: ConvOp, context: Context, variant: Variant) -> None:
        self.context = context
        self.op = op
        self.variant = variant
        self.name = op.name
        self.node = op.node
        self.cut = variant.cut(op, context.setting)
        self.tile, self.grid = self.cut.tile, self.cut.grid
        self.prologue = ChainCode(op.prologue)
        branch = op.branches[0]
        self.folded = branch.folded
        self.chain = ChainCode(branch.epilogue, shared=context.shares(self.name))
        self.source = context.places[op.prepared if op.prologue else op.source]
        self.result = context.places[branch.writes]
        self.element = "uint16_t" if variant.halves else "float"

    @property
    def _weight_arrays(self) -> tuple[tuple[str, str], ...]:
        """The packed arrays that products read."""
        return (("Weights", self.element), *([("Scales", "float")] if self.variant.halves else []))

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        writer = Writer()
        steps: list[InferenceStep] = []
        if self.prologue.steps:
            steps.append(InferenceStep(self.source.name, self.source.layout.block_count))
            writer.lines(
                write_chain_step(self.context, self.context.places[self.op.source], self.source, self.prologue)
            )
            writer.line()
        steps += self._write_steps(writer) if self.cut.in_steps else self._write_blocks(writer)
        return LayerCode(
            name=self.name,
            algorithm=self._algorithm(),
            steps=tuple(steps),
            text=writer.text(),
            arrays=(
                *self._arrays(),
                *self.chain.fields(self.result.layout),
                *self.prologue.fields(self.source.layout),
            ),
            packs=(
                self._pack(),
                *self.chain.packs(self.result.layout),
                *self.prologue.packs(self.source.layout),
            ),
            edge_classes=tuple(sorted(self._edge_classes())),
            tiles=PlannedTiles(
                rows=_planned(self.grid.rows, self.tile.rows.taps, self.tile.rows.point_names),
                columns=_planned(self.grid.columns, self.tile.columns.taps, self.tile.columns.point_names),
                down=self.grid.rows.count,
                across=self.grid.columns.count,
            ),
        )

    def _algorithm(self) -> str:
        node, tile = self.node, self.tile
        saved = tile.rows.outputs * tile.columns.outputs * node.filter_h * node.filter_w / tile.positions
        halves = ", weights in fp16" if self.variant.halves else ""
        return f"Winograd {tile.title}, {saved:.3g} times fewer multiplications, {self.grid.words}{halves}"

    def _edge_classes(self) -> set[str]:
        kernel, grid = self.variant.name, self.grid
        filter_ = f"{self.node.filter_h}x{self.node.filter_w}"
        classes = {f"{kernel} filter {filter_}", f"{kernel} {'steps' if self.cut.in_steps else 'blocks of tiles'}"}
        classes |= {f"{kernel} pass of {size}" for size in self._passes()}
        classes |= {f"{kernel} panel {width}" for width, _ in self._panels()}
        classes |= {f"{kernel} {word}" for word, there in (("inside", grid.inside), ("clipped", self._clips)) if there}
        for word, axis in (("rows", grid.rows), ("columns", grid.columns)):
            if axis.outputs > 1:
                classes.add(f"{kernel} {word} overhang {axis.overhang}")
        regular = "" if self.source.layout.regular else " in segments"
        classes.add(f"{kernel} input tail {self.source.shape.channels % 16}{regular}")
        classes.add(f"{kernel} output tail {self.node.to_channels % 16}")
        classes |= {f"{kernel} groups"} if self.node.groups > 1 else set()
        return classes

    # ---- Memory and weights

    def _row(self, vectors: int) -> str:
        return f"[{vectors}][16]"

    def _arrays(self) -> tuple[PackedArray, ...]:
        name, lanes = self.node.to_tensor, blocks_of(self.node.to_channels) * LANES
        positions, inputs = self.tile.positions, self.cut.input_blocks * LANES
        count = positions * inputs * lanes
        weights = PackedArray(f"{name}Weights", f"[{extent(positions, inputs, lanes)}]", count, self.element)
        biases = PackedArray(f"{name}Biases", f"[{lanes}]", lanes)
        if not self.variant.halves:
            return biases, weights
        scales = PackedArray(f"{name}Scales", f"[{extent(positions, lanes)}]", positions * lanes)
        return biases, scales, weights

    def _pack(self) -> PackCall:
        node, tile = self.node, self.tile
        inputs = self.source.shape.channels // node.groups
        name = node.to_tensor
        arguments = [
            conv_arguments(node, inputs),
            *([f".scales = net->{name}Scales"] if self.variant.halves else []),
            f".filterColumns = {node.filter_w}",
            f".groupOutputs = {node.to_channels // node.groups}",
            f".rowProducts = {tile.rows.products}",
            f".columnProducts = {tile.columns.products}",
            *_factors("row", tile.rows.weights),
            *_factors("column", tile.columns.weights),
            f".panel = {self._panel}",
            *segments_of(self.source.layout),
        ]
        if self.op.normalized:
            arguments.append(f".before = {norms_of(self.op.normalized)}")
        if self.folded:
            arguments.append(f".after = {norms_of(self.folded)}")
        return PackCall(ROUTINES["pack_winograd"], tuple(arguments), blocks_of(node.to_channels))

    @property
    def _panel(self) -> int:
        """Output blocks that are summed together: one where the tiles do not fit into one pass otherwise."""
        tiles = self.cut.block_tiles
        narrow = LONGEST_PASS < tiles <= 2 * LONGEST_PASS and self.cut.in_steps
        return 1 if narrow else min(PANEL_BLOCKS, self.cut.output_blocks)

    def _panels(self) -> Iterator[tuple[int, int]]:
        """Panels of a group: output blocks of each, and how many."""
        whole, rest = divmod(self.cut.output_blocks, self._panel)
        if whole:
            yield self._panel, whole
        if rest:
            yield rest, 1

    def _passes(self) -> tuple[int, ...]:
        """Tiles that are summed together, for every block of tiles that occurs."""
        longest = LONGEST_PASS * (PANEL_BLOCKS if self._panel == 1 else 1)
        sizes = {self.cut.block_tiles, self.grid.count // self.cut.tile_blocks}
        return tuple(sorted({piece for size in sizes for piece in _even(size, longest)}, reverse=True))

    # ---- Block by block

    def _write_blocks(self, writer: Writer) -> list[InferenceStep]:
        """Write the step of a layer whose threads share blocks of tiles."""
        cut, node = self.cut, self.node
        function = StepFunction(
            self.context,
            self.source,
            (node,),
            (self.result,),
            ChainCode(()),
            (self.chain,),
            flat=False,
            net=True,
            buffer=f"float (*restrict factors){self._row(cut.factor_row)}",
            arrays=(*self._weight_arrays, ("Biases", "float")),
        )

        def write_body(writer: Writer) -> None:
            positions = self.tile.positions
            writer.assign(f"float (*const products){self._row(cut.product_row)}", f"(void *)(factors + {positions})")
            with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
                first, tiles = self._block_of_tiles(writer)
                self._write_inputs(writer, function, Name("factors").at, first, tiles)
                with writer.block(f"for (ptrdiff_t position = 0; position < {positions}; position++)"):
                    self._write_products(writer, function, Name("factors").at, Name("products").at, tiles)
                self._write_results(writer, function, Name("products").at, first, tiles)

        how = f"a share of the blocks of tiles. {sentence(self._algorithm())}"
        function.write(writer, function.hint("winograd"), function.description(how), write_body)
        return [InferenceStep(self.name, cut.items)]

    def _block_of_tiles(self, writer: Writer) -> tuple[Expression, Expression]:
        """Write which group and which tiles an item is; the first of the tiles, and how many."""
        cut = self.cut
        larger, fewest = cut.larger_blocks, self.grid.count // cut.tile_blocks
        number: Expression = Name("item")
        indices = []
        if self.node.groups > 1:
            indices.append(f"group = {number // cut.tile_blocks}")
            number %= cut.tile_blocks
        if cut.tile_blocks == 1:
            if indices:
                writer.line(f"const ptrdiff_t {indices[0]};")
            return ZERO, Constant(fewest)
        if larger and not isinstance(number, Name):
            indices.append(f"piece = {number}")
            number = Name("piece")
        first = number * fewest + (least(number, larger) if larger else 0)
        indices.append(f"first = {first}")
        if larger:
            indices.append(
                f"tiles = {Conditional(Less(number, Constant(larger)), Constant(fewest + 1), Constant(fewest))}"
            )
        writer.line(f"const ptrdiff_t {', '.join(indices)};")
        return Name("first"), Name("tiles") if larger else Constant(fewest)

    @property
    def _group(self) -> Expression:
        """The group of an item."""
        return Name("group") if self.node.groups > 1 else ZERO

    # ---- In steps

    def _write_steps(self, writer: Writer) -> list[InferenceStep]:
        """Write the three steps of a layer with few tiles: threads share blocks of channels, or positions."""
        node = self.node
        count = Constant(self.grid.count)
        factors, products = (self.context.places[f"{self.name}_{word}"] for word in ("factors", "products"))
        inputs = self._part(self.source, factors, ())
        multiply = self._part(factors, products, self._weight_arrays)
        results = self._part(products, self.result, (("Biases", "float"),), self.chain)
        filter_ = f"{self.tile.name}_{self.source.shape}_to_{node.to_channels}"

        def write_inputs(writer: Writer) -> None:
            self._write_inputs(writer, inputs, _cell(inputs.tensor(factors)), ZERO, count, shared=True)

        def write_products(writer: Writer) -> None:
            panels = sum(times for _, times in self._panels())
            with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
                indices = [f"position = {Name('item') // panels}"]
                indices += [f"block = {Name('item') % panels * self._panel}"] if panels > 1 else []
                writer.line(f"const ptrdiff_t {', '.join(indices)};")
                self._write_products(
                    writer,
                    multiply,
                    _cell(multiply.tensor(factors)),
                    _cell(multiply.tensor(products)),
                    count,
                    block=Name("block") if panels > 1 else ZERO,
                )

        def write_results(writer: Writer) -> None:
            self._write_results(writer, results, _cell(results.tensor(products)), ZERO, count, shared=True)

        whole = sentence(self._algorithm())
        described = f"{node.filter_h}x{node.filter_w} convolution, {self.source.shape} -> {self.result.shape}"
        parts = (
            (inputs, "inputs", "tiles of inputs become factors, a share of the blocks of channels", write_inputs),
            (multiply, "products", "factors times weights, a share of the panels of all positions", write_products),
            (results, f"results{self.chain.suffix}", "products become results, a share of the blocks", write_results),
        )
        for number, (part, word, text, write) in enumerate(parts):
            if number:
                writer.line()
            part.write(writer, f"{filter_}_{word}", f"{described}: {text}. {whole}.", write)
        items = self.tile.positions * sum(times for _, times in self._panels())
        return [
            InferenceStep(factors.name, self.source.layout.block_count),
            InferenceStep(products.name, items),
            InferenceStep(self.name, self.result.layout.block_count),
        ]

    def _part(
        self, source: Place, result: Place, arrays: Sequence[tuple[str, str]], chain: ChainCode | None = None
    ) -> StepFunction:
        """One of the steps."""
        return StepFunction(
            self.context,
            source,
            (self.node,) if arrays else (),
            (result,),
            ChainCode(()),
            (chain or ChainCode(()),),
            flat=False,
            net=bool(arrays),
            arrays=tuple(arrays),
        )

    # ---- The three parts

    def _write_inputs(
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
        rows, columns = self.grid.rows, self.grid.columns
        shape = self.source.shape
        block, n, y, x = (Name(name) for name in ("block", "n", "y", "x"))
        lanes = self._write_lanes(writer)
        low, high = ("share.first", "share.last") if shared else ("0", str(self.cut.input_blocks))
        library = self.context.library
        with writer.block(f"for (ptrdiff_t block = {low}; block < {high}; block++)"):
            if lanes is not None:
                writer.line(f"const __mmask16 lanes = {lanes};")
            with writer.block(f"for (ptrdiff_t n = 0; n < {tiles}; n++)"):
                down, across = self._write_tile(writer, first + n)
                indices = (
                    f"y = {down * rows.outputs - rows.axis.padding}",
                    f"x = {across * columns.outputs - columns.axis.padding}",
                )
                writer.line(f"const ptrdiff_t {', '.join(indices)};")
                place = [factors(ZERO, block * self.cut.block_tiles + n), extent(self.cut.factor_row, LANES)]
                source = function.tensor(self.source).at(self._group * self.cut.input_blocks + block)
                calls = []
                if self.grid.inside:
                    name = InputRoutine(self.tile, clipped=False).add(library)
                    calls.append((name, [source.at(y, x), extent(shape.width, LANES), *place]))
                if self._clips:
                    name = InputRoutine(self.tile, clipped=True).add(library)
                    mask = Name("lanes" if lanes is not None else "0xffff")
                    window = [source.at(0, 0), Constant(shape.height), Constant(shape.width), y, x, mask]
                    calls.append((name, [*window, *place]))
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
    def _clips(self) -> bool:
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
        masks = [f"0x{(1 << span.channels) - 1:04x}" for span in layout.spans for _ in range(span.blocks)]
        writer.comment("the lanes of each block of inputs that hold channels")
        writer.table("static const __mmask16 channelLanes[]", masks)
        return "channelLanes[block]"

    def _write_products(
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
        panels = list(self._panels())
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
                self._write_passes(writer, function, factors, products, tiles, here, width)
            start = end

    def _write_passes(
        self,
        writer: Writer,
        function: StepFunction,
        factors: Cell,
        products: Cell,
        tiles: Expression,
        block: Expression,
        width: int,
    ) -> None:
        """Write the calls for one panel: the weights meet the tiles in one pass or more."""
        cut, node = self.cut, self.node
        group, position = self._group, Name("position")
        routine = ProductRoutine(width, self.variant.halves)
        name = routine.add(self.context.library)
        inputs = cut.input_blocks * LANES
        weights = ((group * self.tile.positions + position) * cut.output_blocks + block) * extent(inputs, LANES)
        ahead = PREFETCH_BYTES // 4
        scales = []
        if self.variant.halves:
            lanes = extent(node.groups * cut.output_blocks, LANES)
            scales = [
                function.array_of(node, "Scales") + position * lanes + (group * cut.output_blocks + block) * LANES
            ]

        def write(size: int, begin: int) -> None:
            writer.statement(
                name,
                [
                    factors(position, Constant(begin)),
                    Constant(cut.input_blocks),
                    extent(cut.block_tiles, LANES),
                    function.weights_of(node) + weights,
                    *scales,
                    Constant(ahead),
                    products(position, block * cut.block_tiles + begin),
                    *([extent(cut.block_tiles, LANES)] if width > 1 else []),
                    Constant(size),
                ],
                ";",
            )

        def write_all(count: int) -> None:
            begin = 0
            for size in _even(count, routine.most):
                write(size, begin)
                begin += size

        if isinstance(tiles, Constant):
            write_all(tiles.number)
            return
        smaller = self.grid.count // cut.tile_blocks
        with writer.block(f"if (tiles == {smaller + 1})"):
            write_all(smaller + 1)
        with writer.block("else"):
            write_all(smaller)

    def _write_results(
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
        name = ResultRoutine(self.tile, self.grid.ragged, self.chain.neutral).add(self.context.library)
        with (
            writer.block(f"for (ptrdiff_t block = {low}; block < {high}; block++)"),
            writer.block(f"for (ptrdiff_t n = 0; n < {tiles}; n++)"),
        ):
            down, across = self._write_tile(writer, first + n)
            writer.line(f"const ptrdiff_t y = {down * rows.outputs}, x = {across * columns.outputs};")
            ragged = [Constant(shape.height) - y, Constant(shape.width) - x] if self.grid.ragged else []
            whole = self._group * self.cut.output_blocks + block
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


def _cell(tensor: Expression) -> Cell:
    """Cells of a tensor of one row, [position][0][number]."""
    return lambda position, number: tensor.at(position, 0, number)


def _even(count: int, most: int) -> list[int]:
    """`count` as a sum of as few numbers up to `most` as it takes, which differ by one at most."""
    pieces = -(-count // most)
    size, larger = divmod(count, pieces)
    return [size + (number < larger) for number in range(pieces)]


def _factors(axis: str, matrix: Sequence[Sequence[object]]) -> list[str]:
    """A matrix as a C array of doubles, number by number; the compiler computes quotients, so that it rounds once."""
    numbers = [str(factor).replace("/", ".0 / ") for row in matrix for factor in row]
    numbers[0] = f".{axis}Factors = (const double[]){{{numbers[0]}"
    numbers[-1] += "}"
    return numbers


def _planned(axis: GridAxis, taps: int, points: tuple[str, ...]) -> PlannedAxis:
    return PlannedAxis(outputs=axis.outputs, taps=taps, size=axis.window, points=points)


TILES = ((2, 2), (3, 3), (4, 4), (5, 5), (2, 4))
"""Results of a tile, rows x columns, that are worth a kernel."""

KERNELS = tuple(Variant(rows, columns, halves).kernel() for halves in (False, True) for rows, columns in TILES)
