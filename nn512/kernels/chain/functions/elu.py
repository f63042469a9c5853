"""ELU: x where x > 0, otherwise Param * (exp(x) - 1). NaN stays NaN."""

from __future__ import annotations

from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import StepCode, Value, number_word
from nn512.kernels.elementary import EXPM1


def _apply(writer: Writer, step: ActivationStep, value: Value) -> None:
    own, mask = value.variable, f"negative{value.number}"
    writer.line(f"const __mmask16 {mask} = _mm512_cmp_ps_mask({own}, _mm512_setzero_ps(), _CMP_LT_OQ);")
    factor = f"_mm512_set1_ps({float_literal(step.node.param)})"
    writer.line(f"{own} = _mm512_mask_mul_ps({own}, {mask}, {EXPM1.name}({own}), {factor});")


CODE = StepCode(
    lambda step: f"elu{number_word(step.node.param)}" if step.node.param != 1 else "elu",
    lambda step: f"ELU {step.node.param:g}",
    _apply,
    (EXPM1.routine,),
)
