"""Functions that are one instruction. NaN stays NaN."""

from __future__ import annotations

from nn512.cgen.writer import Writer
from nn512.kernels.chain.code import StepCode, Value


def _instruction(call: str, word: str, description: str) -> StepCode:
    """A step that is one call, in which # stands for the value."""

    def apply(writer: Writer, _: object, value: Value) -> None:
        own = str(value.variable)
        writer.line(f"{own} = {call.replace('#', own)};")

    return StepCode(lambda _: word, lambda _: description, apply)


SQRT = _instruction("_mm512_sqrt_ps(#)", "sqrt", "square root")
SQUARE = _instruction("_mm512_mul_ps(#, #)", "square", "square")
ABS = _instruction("_mm512_abs_ps(#)", "abs", "absolute value")
NEG = _instruction("_mm512_sub_ps(_mm512_set1_ps(-0.0f), #)", "neg", "negative")
RECIPROCAL = _instruction("_mm512_div_ps(_mm512_set1_ps(1.0f), #)", "reciprocal", "reciprocal")
