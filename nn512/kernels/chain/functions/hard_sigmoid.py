"""Hard sigmoid: min(max(Alpha * x + Beta, 0), 1). NaN stays NaN."""

from __future__ import annotations

from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import StepCode, Value, number_word


def _apply(writer: Writer, step: ActivationStep, value: Value) -> None:
    own, alpha, beta = value.variable, float_literal(step.node.alpha), float_literal(step.node.beta)
    writer.line(f"{own} = _mm512_fmadd_ps({own}, _mm512_set1_ps({alpha}), _mm512_set1_ps({beta}));")
    # the operand order matters: both return their second operand when one is NaN
    writer.line(f"{own} = _mm512_min_ps(_mm512_set1_ps(1.0f), _mm512_max_ps(_mm512_setzero_ps(), {own}));")


CODE = StepCode(
    lambda step: f"hardsigmoid{number_word(step.node.alpha)}and{number_word(step.node.beta)}",
    lambda step: f"hard sigmoid of {step.node.alpha:g} x + {step.node.beta:g}",
    _apply,
)
