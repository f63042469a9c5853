"""Addition of another tensor, or of the value to itself."""

from __future__ import annotations

from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.ir import AddStep
from nn512.kernels.chain.code import StepCode, Value


def operand_name(number: int) -> str:
    """The pointer to what is added, for the step with this number."""
    return f"add{number}"


def _apply(writer: Writer, step: AddStep, value: Value) -> None:
    own = value.variable
    other = f"_mm512_loadu_ps({Name(operand_name(value.number)) + value.at})" if step.operands else own
    writer.line(f"{own} = _mm512_add_ps({own}, {other});")


CODE = StepCode(
    lambda step: "add" if step.operands else "double",
    lambda step: "addition" if step.operands else "doubling",
    _apply,
)
