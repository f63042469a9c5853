"""Clip to two bounds. NaN stays NaN."""

from __future__ import annotations

from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import StepCode, Value, number_word


def _apply(writer: Writer, step: ActivationStep, value: Value) -> None:
    own, least, greatest = value.variable, float_literal(step.node.min), float_literal(step.node.max)
    # the operand order matters: both return their second operand when one is NaN
    writer.line(f"{own} = _mm512_max_ps(_mm512_set1_ps({least}), {own});")
    writer.line(f"{own} = _mm512_min_ps(_mm512_set1_ps({greatest}), {own});")


CODE = StepCode(
    lambda step: f"clip{number_word(step.node.min)}to{number_word(step.node.max)}",
    lambda step: f"clip to {step.node.min:g}..{step.node.max:g}",
    _apply,
)
