"""Batch norm: a fused multiply-add with the scales and shifts of the block."""

from __future__ import annotations

from functools import partial

from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.ir import NormStep
from nn512.kernels import packing
from nn512.kernels.chain.code import Parameters, StepCode, Value
from nn512.plan.layout import LANES

_POINTER = "affine"


def _apply(writer: Writer, _: NormStep, value: Value) -> None:
    affine = Name(f"{_POINTER}{value.number}").at(value.block)
    scale, shift = (f"_mm512_loadu_ps({affine.at(part)})" for part in (0, 1))
    writer.line(f"{value.variable} = _mm512_fmadd_ps({value.variable}, {scale}, {shift});")


def _parameters(step: NormStep) -> Parameters:
    """Of each block the scales, then the shifts."""
    node = step.node
    array, pack = partial(packing.norm_array, node), partial(packing.pack_norm, node)
    return Parameters(packing.norm_field(node), f"[2][{LANES}]", array, pack)


CODE = StepCode(lambda _: "norm", lambda _: "batch norm", _apply, pointer=_POINTER, parameters=_parameters)
