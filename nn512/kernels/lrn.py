"""Local response normalization across channels, at every spatial position.

The squares of three neighbouring blocks are in registers while the blocks of a pixel go by; what stands so many
channels before or behind the 16 of the middle one is a permutation of two of them. Two pixels go by at a time, and
those that follow are prefetched: reading a vector of every block in turn is nothing that processors foresee.
"""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ZERO, Constant, Expression, Name, extent
from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer, sentence
from nn512.graph.nodes import LRN
from nn512.ir import LRNOp
from nn512.ir.decision import Decision
from nn512.kernels.chain import ChainCode
from nn512.kernels.chain.code import number_word
from nn512.kernels.deciding import Chaining, tell_steps
from nn512.kernels.edges import CHANNEL_TAIL, Edges
from nn512.kernels.interface import Context, Kernel
from nn512.kernels.layer import begin_step, declare_tensor, step_signature
from nn512.kernels.powers import POWER, QUARTERS
from nn512.kernels.streaming import streaming_work
from nn512.kernels.tiles import PREFETCH
from nn512.plan.layout import LANES

MOST_BLOCKS = 3
"""Blocks from which on there is one that has neighbours on both sides."""

BLOCKS = Edges("blocks", tuple(range(1, MOST_BLOCKS + 1)))
EXPONENT = Edges("exponent", ("by quarters", "by logarithm"))
WINDOW = Edges("window", ("even", "odd"))
PIXELS = Edges("pixels", ("single", "pairs", "pairs and a single one"))

AHEAD = 16
"""Pixels between the ones that are computed and the ones that are prefetched."""


class _Routine:
    """The routine for one pixel or two."""

    def __init__(self, node: LRN, steps: ChainCode, pixels: int) -> None:
        self.before, self.behind = (node.size - 1) // 2, node.size // 2
        self.steps, self.size, self.pixels = steps.neutral, node.size, pixels
        self.beta = node.beta if node.beta in (*QUARTERS, 1.0) else None
        self.word = "power" if self.beta is None else number_word(self.beta)

    @property
    def hint(self) -> str:
        return f"lrn{self.size}_{self.word}{self.steps.suffix}{'_2' if self.pixels > 1 else ''}"

    def write(self, name: str) -> str:
        writer = Writer()
        steps = "".join(f", {step}" for step in self.steps.description)
        what = "two neighbouring pixels" if self.pixels > 1 else "one pixel"
        writer.comment(
            f"{sentence('local response normalization')} over {self.size} channels{steps} of {what}: x and out are "
            "the first block, planes of `plane` floats follow. `share` is alpha by the number of channels."
        )
        parameters = ["const float *restrict x", "float *restrict out", "ptrdiff_t blocks", "ptrdiff_t lastLanes"]
        numbers = ["ptrdiff_t plane", "float share", "float bias", *(["float beta"] if self.beta is None else [])]
        writer.statement(f"static INLINE void {name}", [*parameters, *numbers, *self.steps.parameters()], " {")
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _write_body(self, writer: Writer) -> None:
        each = f"UNROLL for (int i = 0; i < {self.pixels}; i++)"
        if self.size > 1:
            lanes = ", ".join(map(str, range(LANES)))
            writer.line(f"const __m512i lane = _mm512_setr_epi32({lanes});")
        writer.line("const __mmask16 some = (__mmask16)((1u << lastLanes) - 1);")
        vectors = ("own", "squares", "before") if self.before else ("own", "squares")
        writer.line(f"__m512 {', '.join(f'{vector}[{self.pixels}]' for vector in vectors)};")
        with writer.block(each):
            writer.line("own[i] = _mm512_maskz_loadu_ps(blocks > 1 ? 0xffff : some, x + i * 16);")
            writer.line("squares[i] = _mm512_mul_ps(own[i], own[i]);")
            if self.before:
                writer.line("before[i] = _mm512_setzero_ps();")
        with writer.block("for (ptrdiff_t block = 0; block < blocks; block++)"):
            writer.line("const float *next = x + (block < blocks - 1 ? block + 1 : block) * plane;")
            writer.line("const __mmask16 mask = block < blocks - 2 ? 0xffff : block < blocks - 1 ? some : 0;")
            for pointer in ("x", "out"):
                ahead = Name(pointer) + Name("block") * Name("plane") + AHEAD * LANES
                writer.line(f"prefetch_lines({ahead}, {self.pixels});")
            with writer.block(each):
                self._write_vector(writer)

    def _write_vector(self, writer: Writer) -> None:
        """Write what is done to 16 channels of pixel i."""
        writer.line("const __m512 following = _mm512_maskz_loadu_ps(mask, next + i * 16);")
        writer.line("const __m512 behind = _mm512_mul_ps(following, following);")
        writer.line("__m512 v = own[i], sum = squares[i];")
        self._write_neighbours(writer, self.before, "before[i]", f"{LANES} - k", "squares[i]")
        self._write_neighbours(writer, self.behind, "squares[i]", "k", "behind")
        writer.line("const __m512 d = _mm512_fmadd_ps(sum, _mm512_set1_ps(share), _mm512_set1_ps(bias));")
        match self.beta:
            case None:
                writer.line("v = _mm512_mul_ps(v, inverse_power(d, beta));")
            case 1.0:
                writer.line("v = _mm512_div_ps(v, d);")
            case beta:
                writer.line(f"v = _mm512_mul_ps(v, {QUARTERS[beta].name}(d));")
        place = Name("block") * Name("plane") + Name("i") * LANES
        self.steps.apply(writer, Name("v"), Name("block"), place)
        writer.line(f"_mm512_storeu_ps({Name('out') + place}, v);")
        writer.line("own[i] = following;")
        if self.before:
            writer.line("before[i] = squares[i];")
        writer.line("squares[i] = behind;")

    def _write_neighbours(self, writer: Writer, count: int, left: str, lane: str, right: str) -> None:
        """Write the addition of the squares of up to `count` channels away, which stand in two vectors."""
        if count:
            with writer.block(f"UNROLL for (int k = 1; k <= {count}; k++)"):
                writer.line(f"const __m512i index = _mm512_add_epi32(lane, _mm512_set1_epi32({lane}));")
                writer.line(f"sum = _mm512_add_ps(sum, _mm512_permutex2var_ps({left}, index, {right}));")


class Powers(Decision):
    """How a sum is raised to the exponent."""

    DIVISION = "exponent 1: a division"
    QUARTERS = "a few quarters: roots"
    LOGARITHM = "any exponent: by logarithm"


def _powers(beta: float) -> Powers:
    if beta == 1:
        return Powers.DIVISION
    return Powers.QUARTERS if beta in QUARTERS else Powers.LOGARITHM


def emit(op: LRNOp, context: Context) -> LayerCode:
    """One layer: two pixels are one item."""
    source, result, node = context.places[op.source], context.places[op.writes], op.node
    layout, pixels = source.layout, source.shape.pixels
    steps = ChainCode(op.epilogue)
    context.library.use(PREFETCH)
    context.decided(_powers(node.beta))
    tell_steps(context.decided, Chaining.FIRST, (), op.epilogue)
    if node.beta in QUARTERS:
        context.library.use(QUARTERS[node.beta].routine)
    elif node.beta != 1:
        context.library.add("inverse_power", lambda _: POWER)

    def call(writer: Writer, count: int, first: Expression) -> None:
        routine = _Routine(node, steps, count)
        arguments: list[Expression | str] = [
            *(Name(names.local(place.name)).at(0, first) for place in (source, result)),
            Constant(layout.block_count),
            Constant(layout.spans[-1].channels),
            extent(source.shape.height, source.shape.width, LANES),
            float_literal(node.alpha / node.size),
            float_literal(node.bias),
            *([float_literal(node.beta)] if routine.beta is None else []),
            *steps.arguments(ZERO, first),
        ]
        writer.statement(context.library.add(routine.hint, routine.write), arguments, ";")

    pairs, single = divmod(pixels, 2)
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        if steps.has_parameters:
            writer.line(f"const {context.prefix}Net *net = engine->net;")
        for tensor in dict.fromkeys((source.name, *steps.operands)):
            declare_tensor(writer, context.places[tensor], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        first = Name("item") * 2
        with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
            if pairs and single:
                with writer.block(f"if (item < {pairs})", "} else {"):
                    call(writer, 2, first)
                with writer.indented():
                    call(writer, 1, first)
                writer.line("}")
            else:
                call(writer, 2 if pairs else 1, first)
    return LayerCode(
        name=op.writes,
        algorithm="squares of neighbouring channels, two pixels at a time",
        steps=(InferenceStep(op.writes, pairs + single),),
        text=writer.text(),
        arrays=steps.fields(result.layout),
        packs=steps.packs(result.layout),
        edge_classes=(
            CHANNEL_TAIL(layout.channels % LANES),
            BLOCKS(min(layout.block_count, MOST_BLOCKS)),
            EXPONENT("by logarithm" if _Routine(node, steps, 1).beta is None else "by quarters"),
            WINDOW("odd" if node.size % 2 else "even"),
            PIXELS(PIXELS.values[0 if not pairs else 1 + single]),
        ),
    )


KERNEL = Kernel(
    "lrn",
    LRNOp,
    streaming_work,
    emit,
    edges=(CHANNEL_TAIL, BLOCKS, EXPONENT, WINDOW, PIXELS),
    decisions=(*Powers, Chaining.WRITING),
)
