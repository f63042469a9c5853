"""Layer norm and division by the root mean square, over the channels of every position.

Sixteen pixels stand side by side: a sum over channels is a sum over blocks, in a register per pixel, and then over the
lanes of sixteen registers, which is a transposition with additions. What comes after that is done for all sixteen at
once. Mean and distances from it take a pass each, as a mean square minus a squared mean would cancel; the blocks of
sixteen pixels are in the nearest caches by then.

Steps on what is read are done in the first pass, which keeps what they give where the results will be; the other passes
read it from there. That takes no working memory, and the results' place would be fetched into the caches anyway.
"""

from __future__ import annotations

import contextlib

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ZERO, Constant, Expression, Name, extent
from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer, sentence
from nn512.ir import ChannelNormOp
from nn512.ir.decision import Decision
from nn512.kernels.chain import ChainCode
from nn512.kernels.deciding import Chaining, Lanes, tell_steps
from nn512.kernels.edges import Edges, tail
from nn512.kernels.interface import Context, Kernel
from nn512.kernels.layer import begin_step, declare_tensor, step_signature, write_segments
from nn512.kernels.packing_lanes import lanes_array, pack_lanes
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES

PIXELS = 16
"""Pixels side by side: as many as a vector has lanes."""

WORDS = {True: "layer norm", False: "rms norm"}
"""What is computed, by whether the mean is subtracted."""

_AFTER_STEPS = {centred: Edges(f"{word} after steps") for centred, word in WORDS.items()}
"""A layer with steps on what it reads."""

LANE_SUMS = """
/* Lane i of the result is the sum of all lanes of v[i]. */
static INLINE __m512 lane_sums(const __m512 v[16]) {
    __m512 four[4];
    UNROLL for (int i = 0; i < 4; i++) { /* in every quarter, the sums of the quarters of four vectors */
        const __m512 *w = v + 4 * i;
        const __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(w[0], w[1]), _mm512_unpackhi_ps(w[0], w[1]));
        const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(w[2], w[3]), _mm512_unpackhi_ps(w[2], w[3]));
        four[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    }
    UNROLL for (int i = 0; i < 4; i += 2) /* even and odd quarters */
        four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[i], four[i + 1], 0x88),
                                _mm512_shuffle_f32x4(four[i], four[i + 1], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(four[0], four[2], 0x88), _mm512_shuffle_f32x4(four[0], four[2], 0xdd));
}
"""

_EACH = "UNROLL for (int i = 0; i < count; i++)"
_BLOCKS = "for (ptrdiff_t block = 0; block < blocks; block++)"
_LOADED = "_mm512_loadu_ps(pixel + i * 16)"
_PLACE = Name("block") * Name("plane") + Name("i") * LANES
"""Where the results of pixel i stand in `out`, and operands of its steps."""


class Moments(Decision):
    """What is summed."""

    CENTRED = "sums of values, then of squares of what they are off their mean"
    ABOUT_ZERO = "sums of squares alone"


class _Routine:
    """The routine for up to sixteen pixels."""

    def __init__(self, before: ChainCode, after: ChainCode, *, centred: bool, table: bool) -> None:
        self.before, self.after, self.centred, self.table = before.neutral, after.neutral, centred, table

    @property
    def hint(self) -> str:
        word = "layer_norm" if self.centred else "rms_norm"
        before = f"_after{self.before.suffix}" if self.before.steps else ""
        then = "_then" if self.before.steps and self.after.steps else ""
        return f"{word}{'_table' if self.table else ''}{before}{then}{self.after.suffix}"

    def write(self, name: str) -> str:
        writer = Writer()
        norm = "layer norm" if self.centred else "division by the root mean square"
        what = ", ".join((*self.before.description, norm, *self.after.description))
        kept = " What is normalized is computed once, and waits in `out`." if self.before.steps else ""
        writer.comment(
            f"{sentence(what)} of `count` neighbouring pixels, 16 at most: x and out are their first block, planes of "
            f"`plane` floats follow.{kept}"
        )
        writer.statement(f"static INLINE void {name}", self._parameters(), " {")
        with writer.indented():
            writer.line("__m512 sum[16];")
            writer.line(f"float {'mean[16], ' if self.centred else ''}factor[16]; /* of each pixel */")
            if self.centred:
                self._write_sums(writer, "_mm512_mask_add_ps(sum[i], mask, sum[i], v)", _LOADED, first=True)
                writer.line("_mm512_storeu_ps(mean, _mm512_div_ps(lane_sums(sum), _mm512_set1_ps(channels)));")
            squares = "_mm512_mask3_fmadd_ps(v, v, sum[i], mask)"
            self._write_sums(writer, squares, self._value, first=not self.centred)
            writer.line("const __m512 power = _mm512_div_ps(lane_sums(sum), _mm512_set1_ps(channels));")
            writer.line("const __m512 root = _mm512_sqrt_ps(_mm512_add_ps(power, _mm512_set1_ps(epsilon)));")
            writer.line("_mm512_storeu_ps(factor, _mm512_div_ps(_mm512_set1_ps(1.0f), root));")
            self._write_results(writer)
        writer.line("}")
        return writer.text()

    def _parameters(self) -> list[str]:
        return [
            "const float *restrict x",
            "float *restrict out",
            "int count",
            "ptrdiff_t blocks",
            "const ptrdiff_t *segments" if self.table else "ptrdiff_t lastLanes",
            "ptrdiff_t plane",
            "float channels",
            "float epsilon",
            "const float (*restrict scales)[16]",
            *(["const float (*restrict shifts)[16]"] if self.centred else []),
            *self.before.parameters(),
            *self.after.parameters(),
        ]

    @property
    def _value(self) -> str:
        """What is summed in squares, and scaled, of pixel i."""
        return f"_mm512_sub_ps({_LOADED}, _mm512_set1_ps(mean[i]))" if self.centred else _LOADED

    @property
    def _kept(self) -> str:
        """Where passes after the first read."""
        return "out" if self.before.steps else "x"

    def _write_sums(self, writer: Writer, added: str, value: str, *, first: bool) -> None:
        """Write sums over the blocks of a value `v` of each pixel; lanes without a channel stay out of them.

        The first pass does the steps on what is read, and keeps what they give.
        """
        before = first and bool(self.before.steps)
        writer.line("UNROLL for (int i = 0; i < 16; i++) sum[i] = _mm512_setzero_ps();")
        lanes = "(rest < 16 ? rest : 16)" if self.table else "(block < blocks - 1 ? 16 : lastLanes)"
        with writer.block() if self.table else contextlib.nullcontext():
            if self.table:
                writer.line("const ptrdiff_t *segment = segments;")
                writer.line("ptrdiff_t rest = *segment; /* of the segment's channels; a 0 ends the table */")
            with writer.block(_BLOCKS):
                writer.line(f"const float *pixel = {'x' if first else self._kept} + block * plane;")
                writer.line(f"const __mmask16 mask = (__mmask16)((1u << {lanes}) - 1);")
                if self.table:
                    writer.line("rest = rest > 16 ? rest - 16 : *++segment;")
                with writer.block(_EACH):
                    writer.line(f"{'' if before else 'const '}__m512 v = {value};")
                    if before:
                        self.before.apply(writer, Name("v"), Name("block"), _PLACE)
                        writer.line(f"_mm512_storeu_ps({Name('out') + _PLACE}, v);")
                    writer.line(f"sum[i] = {added};")

    def _write_results(self, writer: Writer) -> None:
        with writer.block(_BLOCKS):
            writer.line(f"const float *pixel = {self._kept} + block * plane;")
            writer.line("const __m512 scale = _mm512_loadu_ps(scales[block]);")
            if self.centred:
                writer.line("const __m512 shift = _mm512_loadu_ps(shifts[block]);")
            with writer.block(_EACH):
                writer.line(f"__m512 v = {self._value};")
                writer.line("v = _mm512_mul_ps(v, _mm512_set1_ps(factor[i]));")
                writer.line(f"v = {'_mm512_fmadd_ps(v, scale, shift)' if self.centred else '_mm512_mul_ps(v, scale)'};")
                self.after.apply(writer, Name("v"), Name("block"), _PLACE)
                writer.line(f"_mm512_storeu_ps({Name('out') + _PLACE}, v);")


def emit(op: ChannelNormOp, context: Context) -> LayerCode:
    """One layer: sixteen pixels are one item."""
    source, result = context.places[op.source], context.places[op.writes]
    layout, pixels = source.layout, source.shape.pixels
    before, after = ChainCode(op.prologue), ChainCode(op.epilogue, start=len(op.prologue))
    steps = ChainCode(op.steps)
    context.decided(Lanes.LAST if layout.regular else Lanes.TABLE)
    context.decided(Moments.CENTRED if op.is_centred else Moments.ABOUT_ZERO)
    tell_steps(context.decided, Chaining.READING, op.prologue, op.epilogue)
    routine = _Routine(before, after, centred=op.is_centred, table=not layout.regular)
    context.library.add("lane_sums", lambda _: LANE_SUMS)
    name = context.library.add(routine.hint, routine.write)
    parameters = [op.node.to_tensor + kind.suffix for kind in op.node.parameter_kinds]

    def call(writer: Writer, count: int, first: Expression) -> None:
        blocks, lanes = Constant(layout.block_count), Constant(layout.spans[-1].channels)
        places = (Name(names.local(place.name)).at(0, first) for place in (source, result))
        arguments: list[Expression | str] = [
            *places,
            Constant(count),
            blocks,
            lanes if layout.regular else Name("segments"),
            extent(source.shape.height, source.shape.width, LANES),
            f"{layout.channels}.0f",
            float_literal(op.node.epsilon),
            *(f"net->{parameter}" for parameter in parameters),
            *steps.arguments(ZERO, first),
        ]
        writer.statement(name, arguments, ";")

    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        writer.line(f"const {context.prefix}Net *net = engine->net;")
        for tensor in dict.fromkeys((source.name, *steps.operands)):
            declare_tensor(writer, context.places[tensor], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        if not layout.regular:
            write_segments(writer, layout)
        whole, rest = divmod(pixels, PIXELS)
        with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
            first = Name("item") * PIXELS
            if whole and rest:
                with writer.block(f"if (item < {whole})", "} else {"):
                    call(writer, PIXELS, first)
                with writer.indented():
                    call(writer, rest, first)
                writer.line("}")
            else:
                call(writer, PIXELS if whole else rest, first)
    word = WORDS[op.is_centred]
    kept = ", which wait in place of their results" if op.prologue else ""
    return LayerCode(
        name=op.writes,
        algorithm=f"{'mean and variance' if op.is_centred else 'mean squares'} of 16 pixels side by side{kept}",
        steps=(InferenceStep(op.writes, -(-pixels // PIXELS)),),
        text=writer.text(),
        arrays=(*(lanes_array(parameter, layout) for parameter in parameters), *steps.fields(layout)),
        packs=(*(pack_lanes(parameter, layout) for parameter in parameters), *steps.packs(layout)),
        edge_classes=(
            tail(f"{word} {'tail' if layout.regular else 'table'}")(layout.channels % LANES),
            tail(f"{word} pixel tail")(rest),
            *((_AFTER_STEPS[op.is_centred](),) if op.prologue else ()),
        ),
    )


KERNEL = Kernel(
    "channel_norm",
    ChannelNormOp,
    streaming_work,
    emit,
    edges=(
        *(tail(f"{word} {what}") for word in WORDS.values() for what in ("tail", "table", "pixel tail")),
        *_AFTER_STEPS.values(),
    ),
    decisions=(*Moments, *Lanes, Chaining.READING, Chaining.WRITING),
)
