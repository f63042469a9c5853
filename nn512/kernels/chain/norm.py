"""Batch norm: a fused multiply-add with the scales and shifts of the block."""

from __future__ import annotations

from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.ir import NormStep
from nn512.kernels.chain.code import StepCode, Value


def affine_name(number: int) -> str:
    """The pointer to scales and shifts, for the step with this number."""
    return f"affine{number}"


def affine_pointer(name: str) -> str:
    """Declaration of a pointer to what a batch norm does to each block: [block][scales, then shifts][lane]."""
    return f"const float (*restrict {name})[2][16]"


def _apply(writer: Writer, _: NormStep, value: Value) -> None:
    affine = Name(affine_name(value.number)).at(value.block)
    scale, shift = (f"_mm512_loadu_ps({affine.at(part)})" for part in (0, 1))
    writer.line(f"{value.variable} = _mm512_fmadd_ps({value.variable}, {scale}, {shift});")


CODE = StepCode(lambda _: "norm", lambda _: "batch norm", _apply)
