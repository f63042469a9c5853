"""The exponential function."""

from __future__ import annotations

from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import StepCode, Value
from nn512.kernels.elementary import EXP


def _apply(writer: Writer, _: ActivationStep, value: Value) -> None:
    own = value.variable
    # the operand order matters: both return their second operand when one is NaN; beyond +-104 is 0 or infinity
    writer.line(f"{own} = _mm512_min_ps(_mm512_set1_ps(104.0f), _mm512_max_ps(_mm512_set1_ps(-104.0f), {own}));")
    writer.line(f"{own} = {EXP.name}({own});")


CODE = StepCode(lambda _: "exp", lambda _: "exponential", _apply, (EXP.routine,))
