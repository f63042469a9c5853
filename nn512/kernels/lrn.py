"""Local response normalization across channels, at every spatial position.

The squares of three neighbouring blocks are in registers while the blocks of a pixel go by; what stands so many
channels before or behind the 16 of the middle one is a permutation of two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ZERO, Constant, Expression, Name, extent
from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer, sentence
from nn512.graph.nodes import LRN
from nn512.ir import LRNOp
from nn512.kernels.chain import ChainCode
from nn512.kernels.chain.code import number_word
from nn512.kernels.edges import CHANNEL_TAIL, Edges
from nn512.kernels.interface import Context, Kernel
from nn512.kernels.layer import begin_step, declare_tensor, step_signature
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES

MOST_BLOCKS = 3
"""Blocks from which on there is one that has neighbours on both sides."""

BLOCKS = Edges("blocks", tuple(range(1, MOST_BLOCKS + 1)))
EXPONENT = Edges("exponent", ("by roots", "by logarithm"))
WINDOW = Edges("window", ("even", "odd"))

ROOTS: Mapping[float, str] = MappingProxyType(
    {
        0.25: "v = _mm512_mul_ps(v, _mm512_sqrt_ps(inverse_root(d)));",
        0.5: "v = _mm512_mul_ps(v, inverse_root(d));",
        0.75: "const __m512 root = inverse_root(d);\nv = _mm512_mul_ps(v, _mm512_mul_ps(root, _mm512_sqrt_ps(root)));",
        1.0: "v = _mm512_div_ps(v, d);",
    }
)
"""Exponents that roots do, within 2.8 ulp; 0.75 is that of nearly all nets. Two roots and a division by the hardware
would take longer than memory does, because each of them keeps the divider busy for ten cycles or more."""

INVERSE_ROOT = """
/* x^-0.5 for 2^-100 <= x, within 1 ulp; 0 for infinity, NaN for NaN. Half of the exponent is a first guess, off by at
 * most 3.5 %; two steps of Newton's method bring that to 5e-6, a third, of which only the correction is rounded, to the
 * last digit. */
static INLINE __m512 inverse_root(__m512 x) {
    const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
    __m512 r = _mm512_castsi512_ps(
        _mm512_sub_epi32(_mm512_set1_epi32(0x5f3759df), _mm512_srli_epi32(_mm512_castps_si512(x), 1)));
    UNROLL for (int i = 0; i < 2; i++)
        r = _mm512_mul_ps(r, _mm512_fnmadd_ps(_mm512_mul_ps(half, r), r, _mm512_set1_ps(1.5f)));
    const __m512 off = _mm512_fnmadd_ps(_mm512_mul_ps(half, r), r, _mm512_set1_ps(0.5f));
    const __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000));
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, infinity, _CMP_NEQ_UQ), _mm512_fmadd_ps(off, r, r));
}
"""

POWER = """
/* x^-beta for 2^-100 <= x and 0 < beta <= 8, within (2 + beta) * 2^-24; 0 for infinity, NaN for NaN. With x = 2^e * m
 * and m between the roots of 1/2 and 2, log2(m) is a series in (m - 1) / (m + 1), and 2^r one for |r| <= 1/2. The
 * product of beta and e is in two parts, so that large exponents cost no digits. */
static INLINE __m512 inverse_power(__m512 x, float beta) {
    static const float logarithm[] = {0.320598898f, 0.412198583f, 0.577078016f, 0.961796694f, 2.88539008f};
    static const float power[] = {1.52527338e-5f, 1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f,
                                  5.55041087e-2f, 0.240226507f, 0.693147181f, 1.0f};
    const __m512 b = _mm512_set1_ps(-beta), one = _mm512_set1_ps(1.0f);
    const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x3f800000 - 0x3f3504f3));
    const __m512 e = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(bits, 23), _mm512_set1_epi32(127)));
    const __m512 m = _mm512_scalef_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), e));
    const __m512 f = _mm512_div_ps(_mm512_sub_ps(m, one), _mm512_add_ps(m, one)), square = _mm512_mul_ps(f, f);
    __m512 y = _mm512_set1_ps(logarithm[0]);
    UNROLL for (int i = 1; i < 5; i++) y = _mm512_fmadd_ps(y, square, _mm512_set1_ps(logarithm[i]));
    const __m512 high = _mm512_mul_ps(b, e), low = _mm512_fmsub_ps(b, e, high);
    const __m512 steps = _mm512_roundscale_ps(high, 0);
    const __m512 rest = _mm512_add_ps(_mm512_sub_ps(high, steps), _mm512_fmadd_ps(b, _mm512_mul_ps(f, y), low));
    const __m512 more = _mm512_roundscale_ps(rest, 0), r = _mm512_sub_ps(rest, more);
    y = _mm512_set1_ps(power[0]);
    UNROLL for (int i = 1; i < 8; i++) y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(power[i]));
    const __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000));
    y = _mm512_scalef_ps(y, _mm512_add_ps(steps, more));
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, infinity, _CMP_NEQ_UQ), y);
}
"""


class _Routine:
    """The routine for a pixel."""

    def __init__(self, node: LRN, steps: ChainCode) -> None:
        self.before, self.behind = (node.size - 1) // 2, node.size // 2
        self.steps, self.size, self.roots = steps.neutral, node.size, ROOTS.get(node.beta)
        self.word = number_word(node.beta) if self.roots else "power"

    @property
    def hint(self) -> str:
        return f"lrn{self.size}_{self.word}{self.steps.suffix}"

    def write(self, name: str) -> str:
        writer = Writer()
        steps = "".join(f", {step}" for step in self.steps.description)
        writer.comment(
            f"{sentence('local response normalization')} over {self.size} channels{steps} of one pixel: x and out are "
            "its first block, planes of `plane` floats follow. `share` is alpha by the number of channels."
        )
        parameters = ["const float *restrict x", "float *restrict out", "ptrdiff_t blocks", "ptrdiff_t lastLanes"]
        numbers = ["ptrdiff_t plane", "float share", "float bias", *([] if self.roots else ["float beta"])]
        writer.statement(f"static INLINE void {name}", [*parameters, *numbers, *self.steps.parameters()], " {")
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _write_body(self, writer: Writer) -> None:
        if self.size > 1:
            lanes = ", ".join(map(str, range(LANES)))
            writer.line(f"const __m512i lane = _mm512_setr_epi32({lanes});")
        writer.line("const __mmask16 some = (__mmask16)((1u << lastLanes) - 1);")
        writer.line("__m512 v = _mm512_maskz_loadu_ps(blocks > 1 ? 0xffff : some, x);")
        before = ", before = _mm512_setzero_ps()" if self.before else ""
        writer.line(f"__m512 squares = _mm512_mul_ps(v, v){before};")
        with writer.block("for (ptrdiff_t block = 0; block < blocks; block++)"):
            writer.line("const ptrdiff_t next = block < blocks - 1 ? block + 1 : block;")
            writer.line("const __mmask16 mask = block < blocks - 2 ? 0xffff : block < blocks - 1 ? some : 0;")
            writer.line("const __m512 following = _mm512_maskz_loadu_ps(mask, x + next * plane);")
            writer.line("const __m512 behind = _mm512_mul_ps(following, following);")
            writer.line("__m512 sum = squares;")
            self._write_neighbours(writer, self.before, "before", f"{LANES} - i", "squares")
            self._write_neighbours(writer, self.behind, "squares", "i", "behind")
            writer.line("const __m512 d = _mm512_fmadd_ps(sum, _mm512_set1_ps(share), _mm512_set1_ps(bias));")
            for line in (self.roots or "v = _mm512_mul_ps(v, inverse_power(d, beta));").split("\n"):
                writer.line(line)
            place = Name("block") * Name("plane")
            self.steps.apply(writer, Name("v"), Name("block"), place)
            writer.line(f"_mm512_storeu_ps({Name('out') + place}, v);")
            writer.line("v = following;")
            if self.before:
                writer.line("before = squares;")
            writer.line("squares = behind;")

    def _write_neighbours(self, writer: Writer, count: int, left: str, lane: str, right: str) -> None:
        """Write the addition of the squares of up to `count` channels away, which stand in two vectors."""
        if count:
            with writer.block(f"UNROLL for (int i = 1; i <= {count}; i++)"):
                writer.line(f"const __m512i index = _mm512_add_epi32(lane, _mm512_set1_epi32({lane}));")
                writer.line(f"sum = _mm512_add_ps(sum, _mm512_permutex2var_ps({left}, index, {right}));")


def emit(op: LRNOp, context: Context) -> LayerCode:
    """One layer: a pixel is one item."""
    source, result, node = context.places[op.source], context.places[op.writes], op.node
    layout = source.layout
    steps = ChainCode(op.epilogue)
    routine = _Routine(node, steps)
    if not routine.roots:
        context.library.add("inverse_power", lambda _: POWER)
    elif "inverse_root" in routine.roots:
        context.library.add("inverse_root", lambda _: INVERSE_ROOT)
    name = context.library.add(routine.hint, routine.write)
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        if steps.has_parameters:
            writer.line(f"const {context.prefix}Net *net = engine->net;")
        for tensor in dict.fromkeys((source.name, *steps.operands)):
            declare_tensor(writer, context.places[tensor], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        with writer.loop("for (ptrdiff_t p = share.first; p < share.last; p++)"):
            arguments: list[Expression | str] = [
                *(Name(names.local(place.name)).at(0, Name("p")) for place in (source, result)),
                Constant(layout.block_count),
                Constant(layout.spans[-1].channels),
                extent(source.shape.height, source.shape.width, LANES),
                float_literal(node.alpha / node.size),
                float_literal(node.bias),
                *([] if routine.roots else [float_literal(node.beta)]),
                *steps.arguments(ZERO, Name("p")),
            ]
            writer.statement(name, arguments, ";")
    return LayerCode(
        name=op.writes,
        algorithm="squares of neighbouring channels, pixel by pixel",
        steps=(InferenceStep(op.writes, source.shape.pixels),),
        text=writer.text(),
        arrays=steps.fields(result.layout),
        packs=steps.packs(result.layout),
        edge_classes=(
            CHANNEL_TAIL(layout.channels % LANES),
            BLOCKS(min(layout.block_count, MOST_BLOCKS)),
            EXPONENT("by roots" if routine.roots else "by logarithm"),
            WINDOW("even" if node.size % 2 == 0 else "odd"),
        ),
    )


KERNEL = Kernel("lrn", LRNOp, streaming_work, emit, edges=(CHANNEL_TAIL, BLOCKS, EXPONENT, WINDOW))
