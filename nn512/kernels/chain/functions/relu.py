"""ReLU of any slope. NaN stays NaN."""

from __future__ import annotations

from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import StepCode, Value, number_word


def _apply(writer: Writer, step: ActivationStep, value: Value) -> None:
    own, slope = value.variable, step.node.param
    if slope == 0:
        # the operand order matters: max returns its second operand when one is NaN
        writer.line(f"{own} = _mm512_max_ps(_mm512_setzero_ps(), {own});")
    elif slope != 1:
        mask = f"negative{value.number}"
        writer.line(f"const __mmask16 {mask} = _mm512_cmp_ps_mask({own}, _mm512_setzero_ps(), _CMP_LE_OQ);")
        writer.line(f"{own} = _mm512_mask_mul_ps({own}, {mask}, {own}, _mm512_set1_ps({float_literal(slope)}));")


CODE = StepCode(
    lambda step: f"relu{number_word(step.node.param)}" if step.node.param else "relu",
    lambda step: f"ReLU {step.node.param:g}" if step.node.param else "ReLU",
    _apply,
)
