"""ReLU with a slope for every channel. NaN stays NaN."""

from __future__ import annotations

from functools import partial

from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.ir import ActivationStep
from nn512.kernels.chain.code import Parameters, StepCode, Value
from nn512.kernels.packing_lanes import lanes_array, pack_lanes
from nn512.plan.layout import LANES

_POINTER = "slopes"


def _apply(writer: Writer, _: ActivationStep, value: Value) -> None:
    own, mask, slopes = value.variable, f"negative{value.number}", Name(f"{_POINTER}{value.number}").at(value.block)
    writer.line(f"const __mmask16 {mask} = _mm512_cmp_ps_mask({own}, _mm512_setzero_ps(), _CMP_LE_OQ);")
    writer.line(f"{own} = _mm512_mask_mul_ps({own}, {mask}, {own}, _mm512_loadu_ps({slopes}));")


def _parameters(step: ActivationStep) -> Parameters:
    name = f"{step.node.to_tensor}Slopes"
    return Parameters(name, f"[{LANES}]", partial(lanes_array, name), partial(pack_lanes, name))


CODE = StepCode(lambda _: "prelu", lambda _: "PReLU", _apply, pointer=_POINTER, parameters=_parameters)
