"""Fully connected layers: every weight is used once, so they run at the speed of the memory that weights come from.

Large layers keep their weights as halves: 2048 -> 1024 then takes 108 us instead of 173 with cold caches; from L2 both
take the same (one Zen 4 core, 20 to 26 GB/s from memory). Each output has a power of two of its own that keeps its
weights in the range of halves. Layers behind a folded batch norm stay in float: what is subtracted there would have to
match rounded weights.

A panel of up to four blocks of 16 outputs is accumulated in eight registers (see `full_panel`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode, PackCall, PackedArray
from nn512.cgen.expressions import ZERO, Constant, Expression, Name, extent
from nn512.cgen.writer import Writer
from nn512.ir import FullyConnectedOp
from nn512.ir.decision import Decision
from nn512.kernels import packing
from nn512.kernels.chain import ChainCode
from nn512.kernels.deciding import Chaining, Narrowing, Packing, tell_packing, tell_steps
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED, Edges
from nn512.kernels.full_panel import LOAD_HALVES, PanelRoutine, Stored
from nn512.kernels.interface import Context, Kernel, Place, Setting, adding
from nn512.kernels.layer import begin_step, declare_tensor, step_signature
from nn512.kernels.streaming import defined_macs, parameter_bytes, tensor_bytes
from nn512.plan.accuracy import HALF_ERROR
from nn512.plan.cost import EXPOSED, Work
from nn512.plan.layout import LANES, Layout, blocks_of

WIDEST_PANEL = 4
ACCUMULATORS = 8

PANEL, SPANS = Edges("panel", tuple(range(1, WIDEST_PANEL + 1))), Edges("spans", ("one", "several"))
ROW_INPUTS = Edges("inputs of a row", tuple(range(1, LANES + 1)))
EDGES = (PANEL, OUTPUT_TAIL, ROW_INPUTS, SPANS, SHUFFLED)


class Panelling(Decision):
    """How many blocks of outputs a panel may have."""

    FOUR = "panels of up to four blocks of outputs: there are several of them"
    TWO = "panels of up to two blocks of outputs, so that threads have two to share"
    ONE = "panels of one block of outputs, so that threads have as many as there are"


class Summing(Decision):
    """How the inputs of a row of 16 floats are summed."""

    WHOLE = "rows of inputs are whole numbers of steps"
    RAGGED = "a row of inputs ends within a step"


class Filling(Decision):
    """Where halves end."""

    WHOLE = "halves end with a cache line"
    FILLED = "halves are filled up to a cache line"


def panelling(blocks: int) -> Panelling:
    """As many panels as fit, so that threads have panels to share."""
    if blocks >= 2 * WIDEST_PANEL:
        return Panelling.FOUR
    return Panelling.TWO if blocks >= WIDEST_PANEL else Panelling.ONE


_WIDEST: Mapping[Panelling, int] = MappingProxyType({Panelling.FOUR: WIDEST_PANEL, Panelling.TWO: 2, Panelling.ONE: 1})


def panel_width(blocks: int) -> int:
    """Output blocks per panel, the same in all but the last one."""
    return -(-blocks // -(-blocks // _WIDEST[panelling(blocks)]))


def spans_of(layout: Layout, pixels: int) -> tuple[tuple[int, int], ...]:
    """The tensor as rows of 16 floats: pairs of how many, and how many lanes of each hold channels."""
    return tuple((span.blocks * pixels, span.channels) for span in layout.spans)


def refuses_halves(op: FullyConnectedOp, setting: Setting) -> Narrowing | None:
    """Why weights may not become halves, if so."""
    if setting.weights != "fp16":
        return Narrowing.WEIGHTS
    return Narrowing.NORMALIZED if op.normalized else None


def fully_connected_work(op: FullyConnectedOp, setting: Setting, bytes_per_weight: int) -> Work:
    """What a layer costs: its weights come from memory, if they are too large to wait in the level 2 cache.

    Those that wait there from the inference before cost the same in either format.
    """
    result = setting.places[op.writes]
    weights = setting.places[op.source].shape.elements * LANES * blocks_of(op.node.to_channels)
    others = 4 * LANES * blocks_of(op.node.to_channels) + parameter_bytes(op, result.layout)
    macs, moved = defined_macs(op, setting), tensor_bytes(op, setting)
    if 4 * weights <= setting.machine.l2_bytes // 4:
        return Work(macs, 1.0, others, moved + EXPOSED * 4 * weights)
    return Work(macs, 1.0, others + bytes_per_weight * weights, moved)


DECISIONS: tuple[Decision, ...] = (*Panelling, *Summing, Packing.SHUFFLED, Packing.AFTER, Chaining.WRITING)
"""What all of these kernels may decide."""

FLOATS = Kernel(
    "fully_connected",
    FullyConnectedOp,
    lambda op, setting: fully_connected_work(op, setting, 4),
    lambda op, context: FullyConnectedLayer(op, context, Stored.FLOATS).emit(),
    edges=EDGES,
    decisions=(*DECISIONS, Packing.BEFORE),
)
HALVES = Kernel(
    "fully_connected_fp16",
    FullyConnectedOp,
    lambda op, setting: fully_connected_work(op, setting, 2),
    lambda op, context: FullyConnectedLayer(op, context, Stored.HALVES).emit(),
    refuses_halves,
    weights="fp16",
    edges=EDGES,
    decisions=(*Narrowing, *DECISIONS, *Filling),
    added_error=adding(HALF_ERROR),
)


class FullyConnectedLayer:
    """The text of one layer: its weights are floats or halves, unless a kernel stores them otherwise."""

    def __init__(self, op: FullyConnectedOp, context: Context, stored: Stored) -> None:
        self.context = context
        self.op = op
        self.name = op.writes
        self.weights = f"{op.node.to_tensor}Weights"
        self.biases = f"{op.node.to_tensor}Biases"
        self.scales = f"{op.node.to_tensor}Scales"
        self.source, self.result = self.read(), context.places[op.writes]
        self.stored = stored
        self.chain = ChainCode(op.epilogue)
        self.inputs = self.source.shape.elements
        self.blocks = blocks_of(op.node.to_channels)
        self.width = panel_width(self.blocks)
        self.panels = -(-self.blocks // self.width)
        self.spans = spans_of(self.source.layout, self.source.shape.pixels)

    def read(self) -> Place:
        """What the sums read."""
        return self.context.places[self.op.source]

    def emit(self) -> LayerCode:
        """The layer: its step functions and its packing."""
        decided = self.context.decided
        decided(panelling(self.blocks))
        decided(Summing.RAGGED if any(routine.ragged for routine in self._routines()) else Summing.WHOLE)
        if self.stored is Stored.HALVES:
            decided(Filling.FILLED if self._half_line else Filling.WHOLE)
        tell_packing(self.op, decided)
        tell_steps(decided, Chaining.FIRST, (), self.chain.steps)
        return LayerCode(
            name=self.name,
            algorithm=self.algorithm(),
            steps=self.steps(),
            text=self.text(),
            arrays=(*self.fields(), *self.chain.fields(self.result.layout)),
            packs=(self.pack(), *self.chain.packs(self.result.layout)),
            edge_classes=tuple(sorted(self.edge_classes())),
        )

    def algorithm(self) -> str:
        """The algorithm in a few words."""
        widths = sorted({routine.blocks for routine in self._routines()}, reverse=True)
        outputs = " or ".join(str(16 * width) for width in widths)
        return f"fully connected, {outputs} outputs in registers, {self.stored.word} weights"

    def steps(self) -> tuple[InferenceStep, ...]:
        """The step functions and their items."""
        return (InferenceStep(self.name, self.panels),)

    def edge_classes(self) -> set[str]:
        """Names of the edge cases that this layer has."""
        classes = {PANEL(routine.blocks) for routine in self._routines()}
        classes.add(OUTPUT_TAIL(self.result.shape.channels % LANES))
        classes |= {ROW_INPUTS(lanes) for _, lanes in self.spans}
        classes.add(SPANS("one" if len(self.spans) == 1 else "several"))
        return classes | ({SHUFFLED()} if self.op.shuffled else set())

    def _routine(self, blocks: int) -> PanelRoutine:
        sums = 1 << (ACCUMULATORS // blocks).bit_length() - 1
        ragged = any(lanes % sums for _, lanes in self.spans)
        return PanelRoutine(blocks, sums, self.stored, ragged, self.chain.neutral)

    def _routines(self) -> tuple[PanelRoutine, ...]:
        """The routine of all panels, or of all but the last and of the last."""
        last = self.blocks - (self.panels - 1) * self.width
        widths = dict.fromkeys((self.width, last) if self.panels > 1 else (last,))
        return tuple(self._routine(width) for width in widths)

    def text(self) -> str:
        """The step functions."""
        prefix = self.context.prefix
        routines = self._routines()
        if self.stored is Stored.HALVES:
            self.context.library.add("load_halves", lambda _: LOAD_HALVES)
        names_of_routines = [self.context.library.add(routine.hint, routine.write) for routine in routines]
        writer = Writer()
        with writer.block(step_signature(prefix, self.name, self.stored.target)):
            begin_step(writer, prefix)
            writer.line(f"const {prefix}Net *net = engine->net;")
            for name in dict.fromkeys((self.source.name, *self.chain.operands)):
                declare_tensor(writer, self.context.places[name], written=False, flat=True)
            declare_tensor(writer, self.result, written=True, flat=True)
            writer.comment("numbers of rows of 16 floats, and how many floats of such a row are inputs")
            writer.table(
                "static const ptrdiff_t input_spans[][2]", (f"{{{rows}, {lanes}}}" for rows, lanes in self.spans)
            )
            panel = "panel" if self.width > 1 else "block"
            with writer.block(f"for (ptrdiff_t {panel} = share.first; {panel} < share.last; {panel}++)"):
                if self.width > 1:
                    writer.line(f"const ptrdiff_t block = panel * {self.width};")
                if len(routines) == 1:
                    writer.statement(names_of_routines[0], self._arguments(), ";")
                else:
                    writer.line(f"if (panel < {self.panels - 1})")
                    with writer.indented():
                        writer.statement(names_of_routines[0], self._arguments(), ";")
                    writer.line("else")
                    with writer.indented():
                        writer.statement(names_of_routines[1], self._arguments(), ";")
        return writer.text()

    def _arguments(self) -> list[Expression]:
        block = Name("block")
        return [
            Name(names.local(self.source.name)).at(0, 0),
            Name(f"net->{self.weights}") + block * self.inputs * LANES,
            *([Name(f"net->{self.scales}") + block * LANES] if self.stored.scaled else []),
            Name(f"net->{self.biases}") + block * LANES,
            Name(names.local(self.result.name)).at(block, 0),
            *self.chain.arguments(block, ZERO),
            Name("input_spans"),
            Constant(len(self.spans)),
        ]

    @property
    def _half_line(self) -> bool:
        """Whether halves end within a cache line."""
        return self.blocks * self.inputs % 2 > 0

    def fields(self) -> tuple[PackedArray, ...]:
        """Packed arrays: biases, scales, weights; halves fill whole cache lines, so that what follows begins on one."""
        vectors = str(self.blocks * LANES)
        floats = [self.biases, *([self.scales] if self.stored.scaled else [])]
        size, elements = extent(self.blocks, self.inputs, LANES), self.blocks * self.inputs * LANES
        if self.stored is Stored.HALVES and self._half_line:
            size, elements = size + LANES, elements + LANES
        weights = PackedArray(self.weights, f"[{size}]", elements, self.stored.element)
        return (*(PackedArray(name, f"[{vectors}]", self.blocks * LANES) for name in floats), weights)

    def pack(self) -> PackCall:
        """The call that packs them."""
        arguments = [
            f".weights = params->{self.weights}",
            f".biases = params->{self.biases}",
            f".packed = net->{self.weights}",
            f".packedBiases = net->{self.biases}",
            *([f".scales = net->{self.scales}"] if self.stored.scaled else []),
            f".outputs = {self.op.node.to_channels}",
            f".channels = {self.source.shape.channels}",
            f".pixels = {extent(self.source.shape.height, self.source.shape.width)}",
            f".panel = {self.width}",
            *packing.segments_of(self.source.layout),
            *self._unshuffled(),
        ]
        if self.op.normalized:
            arguments.append(f".before = {packing.norms_of(self.op.normalized)}")
        if self.op.folded:
            arguments.append(f".after = {packing.norms_of(self.op.folded)}")
        return PackCall(packing.ROUTINES["pack_full"], tuple(arguments), self.blocks)

    def _unshuffled(self) -> tuple[str, ...]:
        """The initializer of `unshuffled`: as many groups as those of the shuffle have channels undo it."""
        node = self.op.shuffled
        if node is None:
            return ()
        channels = self.source.shape.channels
        return (f".unshuffled = SEGMENTS(-{channels // node.groups}, {node.groups}, {channels})",)
