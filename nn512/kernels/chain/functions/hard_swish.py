"""Hard swish: x * min(max(x + 3, 0), 6) / 6. NaN stays NaN.

What is below -3 is -3 from the beginning, so that -inf is not multiplied by 0. The factor comes first, so that nothing
overflows; six times the float nearest to 1/6 rounds to 1, and what is above 3 stays as it is.
"""

from __future__ import annotations

from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import StepCode, Value


def _apply(writer: Writer, _: ActivationStep, value: Value) -> None:
    own, factor = value.variable, f"factor_{value.number}"
    # the operand order matters: both return their second operand when one is NaN
    writer.line(f"{own} = _mm512_max_ps(_mm512_set1_ps(-3.0f), {own});")
    sum_ = f"_mm512_add_ps({own}, _mm512_set1_ps(3.0f))"
    writer.line(f"const __m512 {factor} = _mm512_min_ps(_mm512_set1_ps(6.0f), {sum_});")
    writer.line(f"{own} = _mm512_mul_ps({own}, _mm512_mul_ps({factor}, _mm512_set1_ps({float_literal(1 / 6)})));")


CODE = StepCode(lambda _: "hardswish", lambda _: "hard swish", _apply)
