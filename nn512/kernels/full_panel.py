"""The inner loops of fully connected layers: a panel of outputs, summed in registers over all inputs.

Eight registers of sums are enough to hide the latency of the multiply-adds: with fewer blocks of outputs, neighbouring
inputs add to different sums.
"""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass

from nn512.cgen.expressions import ZERO, Expression, Name
from nn512.cgen.writer import Writer
from nn512.kernels.chain import ChainCode
from nn512.kernels.tiles import BFLOAT16_TARGET, Unrolled
from nn512.plan.layout import LANES

LOAD_HALVES = """
/* Sixteen half floats as floats. */
static INLINE __m512 load_halves(const uint16_t *halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves));
}
"""


class Stored(enum.Enum):
    """How weights are stored, by what stands for it in names."""

    FLOATS = ""
    HALVES = "half"
    PAIRS = "pairs"  # of bfloat16, one in the place of a float; an input is a pair, too

    @property
    def format(self) -> str:
        """The name of the format."""
        return {Stored.FLOATS: "fp32", Stored.HALVES: "fp16", Stored.PAIRS: "bf16"}[self]

    @property
    def ending(self) -> str:
        """What ends the names of kernels that store weights so."""
        return "" if self is Stored.FLOATS else f"-{self.format}"

    @property
    def word(self) -> str:
        """What kind of weights they are."""
        return {Stored.FLOATS: "float", Stored.HALVES: "half", Stored.PAIRS: "bfloat16"}[self]

    @property
    def scaled(self) -> bool:
        """Whether every output has a scale that its weights were divided by."""
        return self is Stored.HALVES

    @property
    def element(self) -> str:
        """The C type of a weight, or of a pair."""
        return "uint16_t" if self is Stored.HALVES else "float"

    @property
    def input_lanes(self) -> int:
        """Floats in which a block of 16 inputs stands."""
        return LANES // 2 if self is Stored.PAIRS else LANES

    @property
    def target(self) -> str:
        """See `step_signature`."""
        return BFLOAT16_TARGET if self is Stored.PAIRS else ""

    @property
    def note(self) -> str:
        """What the comment of a routine adds."""
        return ", where each of x and of w is a pair as bfloat16" if self is Stored.PAIRS else ""

    def vector(self, weights: Expression) -> tuple[str, str]:
        """C of 16 weights, or pairs of them, at a pointer: the type, and the vector."""
        if self is Stored.PAIRS:
            return "__m512bh", f"(__m512bh)_mm512_loadu_ps({weights})"
        return "__m512", f"{'load_halves' if self is Stored.HALVES else '_mm512_loadu_ps'}({weights})"

    def spread(self, inputs: Name, number: Expression) -> str:
        """C of a vector of the same type that has one input, or pair of inputs, in all lanes."""
        if self is Stored.PAIRS:  # clang 16 crashes on a set1_ps of which it sees that it becomes bfloat16
            return f"(__m512bh)_mm512_broadcastss_ps(_mm_load_ss({inputs + number}))"
        return f"_mm512_set1_ps({inputs.at(number)})"

    def step(self, number: Expression, weights: Expression, acc: Expression) -> tuple[str, str, str]:
        """C of a step: the type of an input that is spread over a vector, that vector, and a sum with its product.

        `number` is that of the input in its row, `weights` a pointer.
        """
        kind, loaded = self.vector(weights)
        spread = self.spread(Name("x"), number)
        if self is Stored.PAIRS:
            return kind, spread, f"_mm512_dpbf16_ps({acc}, input, {loaded})"
        return kind, spread, f"_mm512_fmadd_ps({loaded}, input, {acc})"


@dataclass(frozen=True, slots=True)
class PanelRoutine:
    """What the text of a panel's routine depends on. `sums` inputs at a time add to different sums."""

    blocks: int
    sums: int
    stored: Stored
    ragged: bool  # some rows have a number of inputs that `sums` does not divide
    chain: ChainCode

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        words = [f"full_{self.blocks}x{self.sums}"]
        words += ["ragged"] if self.ragged else []
        words += [self.stored.value] if self.stored.value else []
        return "_".join(words) + self.chain.suffix

    def write(self, name: str) -> str:
        """Text of the routine."""
        writer = Writer()
        scale = "scale[o] * " if self.stored.scaled else ""
        writer.comment(
            f"{self.blocks} block{'s' if self.blocks > 1 else ''} of 16 outputs: out[o] = bias[o] + {scale}sum over "
            f"inputs of w[o] * x{self.stored.note}. A span is a number of rows of 16 floats of which the first few are "
            "inputs."
        )
        parameters = [
            "const float *restrict x",
            f"const {self.stored.element} *restrict w",
            *(["const float *restrict scale"] if self.stored.scaled else []),
            "const float *restrict bias",
            "float *restrict out",
            *self.chain.parameters(),
            "const ptrdiff_t (*span)[2]",
            "ptrdiff_t spans",
        ]
        writer.statement(f"static INLINE {self.stored.target}void {name}", parameters, " {")
        with writer.indented():
            self._write_sums(writer)
            self._write_result(writer)
        writer.line("}")
        return writer.text()

    def _write_sums(self, writer: Writer) -> None:
        blocks, sums = self.blocks, self.sums
        writer.line(f"__m512 acc[{sums}][{blocks}];")
        inputs = Unrolled("s", 0, sums)
        acc = Name("acc").at(inputs.index, self._outputs.index)
        writer.nest([*inputs.openings, *self._outputs.openings], [f"{acc} = _mm512_setzero_ps();"])
        writer.line("for (const ptrdiff_t (*end)[2] = span + spans; span < end; span++)")
        with (
            writer.indented(),
            writer.block("ROLLED for (ptrdiff_t row = 0, lanes = (*span)[1]; row < (*span)[0]; row++, x += 16)"),
        ):
            step = f"lane += {sums}, w += {sums * blocks * 16}" if sums > 1 else f"lane++, w += {blocks * 16}"
            bound = f"lane + {sums} <= lanes" if self.ragged else "lane < lanes"
            start = "" if self.ragged else "ptrdiff_t lane = 0"
            if self.ragged:
                writer.line("ptrdiff_t lane = 0;")
            several = writer.block(inputs.openings[0]) if inputs.openings else contextlib.nullcontext()
            with writer.block(f"ROLLED for ({start}; {bound}; {step})"), several:
                self._write_step(writer, inputs.index)
            if self.ragged:
                with writer.block(f"ROLLED for (; lane < lanes; lane++, w += {blocks * 16})"):
                    self._write_step(writer, ZERO)

    def _write_step(self, writer: Writer, number: Expression) -> None:
        """Write what adds an input, of several the one with this number, to the sum with this number."""
        block = self._outputs.index
        weights, acc = Name("w") + (number * self.blocks + block) * LANES, Name("acc").at(number, block)
        kind, spread, product = self.stored.step(Name("lane") + number, weights, acc)
        writer.line(f"const {kind} input = {spread};")
        writer.nest(self._outputs.openings, [f"{acc} = {product};"])

    def _write_result(self, writer: Writer) -> None:
        block, others = self._outputs.index, Unrolled("s", 1, self.sums)
        place, acc = block * 16, Name("acc").at(0, block)
        bias, scale = (f"_mm512_loadu_ps({Name(name) + place})" for name in ("bias", "scale"))
        result = Writer()
        if self.sums > 1:
            other = Name("acc").at(others.index, block)
            result.nest(others.openings, [f"{acc} = _mm512_add_ps({acc}, {other});"])
        value = f"_mm512_fmadd_ps({acc}, {scale}, {bias})" if self.stored.scaled else f"_mm512_add_ps({acc}, {bias})"
        result.line(f"__m512 v = {value};")
        self.chain.apply(result, Name("v"), block, place)
        result.line(f"_mm512_storeu_ps({Name('out') + place}, v);")
        writer.nest(self._outputs.openings, result.text().splitlines())

    @property
    def _outputs(self) -> Unrolled:
        """The loop over the blocks of outputs."""
        return Unrolled("o", 0, self.blocks)
