"""The text of a layer that is computed tile by tile: its functions, its packed arrays, its entry in the plan.

Where there are many tiles, threads share blocks of them, and each does all of that for a block in memory of its own,
which stays in its nearest caches. A small picture has too few tiles for that, and its weights take longer than they do:
then each part is a step of its own, in memory that all threads see, and threads share positions and blocks of channels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from nn512.cgen.code import InferenceStep, LayerCode, PackCall, PackedArray, Routine
from nn512.cgen.expressions import ZERO, Conditional, Constant, Expression, Less, Name, extent, least
from nn512.cgen.writer import Writer, sentence
from nn512.kernels.bodies import StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.deciding import Chaining, tell_packing, tell_steps
from nn512.kernels.edges import INPUT_TAIL, OUTPUT_TAIL, SHUFFLED
from nn512.kernels.elementwise import write_chain_step
from nn512.kernels.full_panel import Stored
from nn512.kernels.interface import Place
from nn512.kernels.packing import ROUTINES, conv_arguments, norms_of, segments_of
from nn512.kernels.tile_cut import CLIPS, COMPUTED, GROUPS, INSIDE, SEGMENTS, Reading, Storing, passes
from nn512.kernels.tile_parts import Cell, TileParts
from nn512.plan.layout import LANES, blocks_of
from nn512.plan.plan import PlannedTiles

NARROWED: Mapping[Stored, str] = MappingProxyType(
    {
        Stored.FLOATS: "",
        Stored.HALVES: ", weights in fp16",
        Stored.PAIRS: ", factors and weights rounded to pairs of bfloat16",
    }
)
"""What the formats are, in words."""


class TileLayer(TileParts):
    """The text of one layer."""

    @property
    @abstractmethod
    def routine(self) -> str:
        """The routine that packs weights."""

    @abstractmethod
    def advantage(self) -> str:
        """What the algorithm saves, in words."""

    @abstractmethod
    def pack_arguments(self) -> list[str]:
        """Arguments of the packing routine that say how weights are transformed."""

    def pack_tables(self) -> tuple[Routine, ...]:
        """Tables that these arguments name."""
        return ()

    @property
    def _weight_arrays(self) -> tuple[tuple[str, str], ...]:
        """The packed arrays that products read."""
        return (("Weights", self.element), *([("Scales", "float")] if self.variant.stored.scaled else []))

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        self.tell()
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
                rows=self.cut.tile.axes[0],
                columns=self.cut.tile.axes[1],
                down=self.grid.rows.count,
                across=self.grid.columns.count,
            ),
        )

    def tell(self) -> None:
        """Tell what was decided."""
        decided = self.context.decided
        decided(self.cut.computing)
        decided(Reading.INSIDE if not self.clips else Reading.BOTH if self.has_inner else Reading.CLIPPED)
        decided(Storing.RAGGED if self.grid.ragged else Storing.WHOLE)
        tell_packing(self.op, decided)
        tell_steps(decided, Chaining.FIRST, self.op.prologue, self.chain.steps)

    def _algorithm(self) -> str:
        return f"{self.cut.tile.title}, {self.advantage()}, {self.grid.words}{NARROWED[self.variant.stored]}"

    def _edge_classes(self) -> set[str]:
        grid, whole = self.grid, self.source.layout.regular
        classes = {*self.variant.filter_classes(self.node), COMPUTED("in steps" if self.cut.in_steps else "in blocks")}
        for width, _ in self.panels():
            classes |= {passes(self.variant, width)(size) for size in self.sizes(self.variant.most(width))}
        classes |= {INSIDE()} if grid.inside else set()
        classes |= {CLIPS()} if self.clips else set()
        for family, axis in zip(self.variant.overhangs, (grid.rows, grid.columns), strict=True):
            if axis.outputs > 1:
                classes.add(family(axis.overhang if axis.overhang in family.values else "more"))
        classes.add((INPUT_TAIL if whole else SEGMENTS)(self.source.shape.channels % LANES))
        classes.add(OUTPUT_TAIL(self.node.to_channels % LANES))
        classes |= {SHUFFLED()} if self.op.shuffled else set()
        return classes | ({GROUPS()} if self.node.groups > 1 else set())

    # ---- Memory and weights

    @staticmethod
    def _row(cells: int, lanes: int = LANES) -> str:
        return f"[{cells}][{lanes}]"

    def _arrays(self) -> tuple[PackedArray, ...]:
        name, lanes = self.node.to_tensor, blocks_of(self.node.to_channels) * LANES
        positions, inputs = self.cut.tile.positions, self.cut.input_blocks * self.variant.stored.input_lanes
        count = positions * inputs * lanes
        weights = PackedArray(f"{name}Weights", f"[{extent(positions, inputs, lanes)}]", count, self.element)
        biases = PackedArray(f"{name}Biases", f"[{lanes}]", lanes)
        if not self.variant.stored.scaled:
            return biases, weights
        scales = PackedArray(f"{name}Scales", f"[{extent(positions, lanes)}]", positions * lanes)
        return biases, scales, weights

    def _pack(self) -> PackCall:
        node = self.node
        inputs = self.source.shape.channels // node.groups
        arguments = [
            conv_arguments(node, inputs, (node.filter_h, node.filter_w)),
            *([f".scales = net->{node.to_tensor}Scales"] if self.variant.stored.scaled else []),
            f".filterColumns = {node.filter_w}",
            f".groupOutputs = {node.to_channels // node.groups}",
            *self.pack_arguments(),
            f".panel = {self.panel_blocks}",
            *segments_of(self.source.layout, self.op.shuffled),
        ]
        if self.op.normalized:
            arguments.append(f".before = {norms_of(self.op.normalized)}")
        if self.folded:
            arguments.append(f".after = {norms_of(self.folded)}")
        return PackCall(ROUTINES[self.routine], tuple(arguments), blocks_of(node.to_channels), self.pack_tables())

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
            buffer=f"float (*restrict factors){self._row(cut.factor_cells, cut.factor_lanes)}",
            arrays=(*self._weight_arrays, ("Biases", "float")),
            target=self.variant.stored.target,
        )

        def write_body(writer: Writer) -> None:
            positions = cut.tile.positions
            writer.assign(f"float (*const products){self._row(cut.product_row)}", f"(void *)(factors + {positions})")
            with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
                first, tiles = self._block_of_tiles(writer)
                self.write_inputs(writer, function, Name("factors").at, first, tiles)
                p = self.POSITION
                with writer.block(f"for (ptrdiff_t {p} = 0; {p} < {self.products}; {p}++)"):
                    self.write_products(writer, function, Name("factors").at, Name("products").at, tiles)
                self.write_results(writer, function, Name("products").at, first, tiles)

        how = f"a share of the blocks of tiles. {sentence(self._algorithm())}"
        function.write(writer, function.hint(self.variant.arithmetic), function.description(how), write_body)
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

    # ---- In steps

    def _write_steps(self, writer: Writer) -> list[InferenceStep]:
        """Write the three steps of a layer with few tiles: threads share blocks of channels, or positions."""
        node = self.node
        count = Constant(self.grid.count)
        factors, products = (self.context.places[f"{self.name}_{word}"] for word in ("factors", "products"))
        inputs = self._part(self.source, factors, ())
        multiply = self._part(factors, products, self._weight_arrays, target=self.variant.stored.target)
        results = self._part(products, self.result, (("Biases", "float"),), self.chain)
        filter_ = f"{self.cut.tile.name}_{self.source.shape}_to_{node.to_channels}"

        def write_inputs(writer: Writer) -> None:
            self.write_inputs(writer, inputs, _cell(inputs.tensor(factors)), ZERO, count, shared=True)

        def write_products(writer: Writer) -> None:
            panels = sum(times for _, times in self.panels())
            with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
                indices = [f"{self.POSITION} = {Name('item') // panels}"]
                indices += [f"block = {Name('item') % panels * self.panel_blocks}"] if panels > 1 else []
                writer.line(f"const ptrdiff_t {', '.join(indices)};")
                self.write_products(
                    writer,
                    multiply,
                    _cell(multiply.tensor(factors)),
                    _cell(multiply.tensor(products)),
                    count,
                    block=Name("block") if panels > 1 else ZERO,
                )

        def write_results(writer: Writer) -> None:
            self.write_results(writer, results, _cell(results.tensor(products)), ZERO, count, shared=True)

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
        items = self.products * sum(times for _, times in self.panels())
        return [
            InferenceStep(factors.name, self.source.layout.block_count),
            InferenceStep(products.name, items),
            InferenceStep(self.name, self.result.layout.block_count),
        ]

    def _part(
        self,
        source: Place,
        result: Place,
        arrays: Sequence[tuple[str, str]],
        chain: ChainCode | None = None,
        target: str = "",
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
            target=target,
        )


def _cell(tensor: Expression) -> Cell:
    """Cells of a tensor of one row, [position][0][number]."""
    return lambda position, number: tensor.at(position, 0, number)
