"""Element-wise steps on a vector in registers: the C of a chain, its parameters and its arguments.

A chain is written into shared routines under neutral names (`affine0`, `add1`, by the number of the step); every layer
that calls such a routine passes its own pointers for them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import assert_never

from nn512.cgen import names
from nn512.cgen.expressions import offset_from
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Activation, Add, BatchNorm
from nn512.kernels import packing
from nn512.kernels.layer import PackCall, WeightField
from nn512.passes.program import Step
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class Chain:
    """A sequence of element-wise steps; neutral names are numbered from `start`."""

    steps: tuple[Step, ...]
    start: int = 0

    @property
    def suffix(self) -> str:
        """Part of the name of a routine that ends in this chain, such as `_add_relu`."""
        return "".join(f"_{_word(step)}" for step in self.steps)

    @property
    def neutral(self) -> Chain:
        """The chain as a shared routine sees it: which steps, but not whose."""
        return Chain(tuple(_neutral(step) for step in self.steps), self.start)

    @property
    def normalizes(self) -> bool:
        """Whether there is a batch norm in the chain."""
        return any(isinstance(step.node, BatchNorm) for step in self.steps)

    @property
    def operands(self) -> tuple[str, ...]:
        """Tensors that additions of the chain read."""
        return tuple(step.operand for step in self.steps if step.operand is not None)

    def parameters(self) -> list[str]:
        """Declarations of a routine's parameters for the chain."""
        result: list[str] = []
        for number, step in enumerate(self.steps, self.start):
            match step.node:
                case BatchNorm():
                    result.append(f"const float (*restrict affine{number})[2][16]")
                case Add() if step.operand is not None:
                    result.append(f"const float *restrict add{number}")
                case Activation() | Add():
                    pass
                case _:
                    assert_never(step.node)
        return result

    def forwarded(self) -> list[str]:
        """The parameters' names, to hand them on."""
        return re.findall(r"\b(?:add|affine)[0-9]+", " ".join(self.parameters()))

    @property
    def addends(self) -> list[str]:
        """The parameters that point to what is added."""
        return [name for name in self.forwarded() if name.startswith("add")]

    def arguments(self, block: str, pixel: str) -> list[str]:
        """What a layer passes: the chain's data from block `block` on, additions at `pixel` (an index like [y][x])."""
        result: list[str] = []
        for step in self.steps:
            match step.node:
                case BatchNorm():
                    result.append(offset_from(f"net->{packing.norm_field(step.node)}", [block]))
                case Add() if step.operand is not None:
                    result.append(f"{names.local(step.operand)}[{block}]{pixel}")
                case Activation() | Add():
                    pass
                case _:
                    assert_never(step.node)
        return result

    def bind(self, writer: Writer, block: str, pixel: str) -> None:
        """Declare the chain's parameters as local variables, for a chain that is not in a shared routine."""
        for parameter, argument in zip(self.parameters(), self.arguments(block, pixel), strict=True):
            writer.line(f"{parameter} = {argument};")

    def apply(self, writer: Writer, value: str, block: str, at: str) -> None:
        """Write the steps on variable `value`: `block` indexes the blocks passed, `at` is the offset in floats."""
        for number, step in enumerate(self.steps, self.start):
            match step.node:
                case BatchNorm():
                    scale, shift = (f"_mm512_loadu_ps(affine{number}[{block}][{part}])" for part in (0, 1))
                    writer.line(f"{value} = _mm512_fmadd_ps({value}, {scale}, {shift});")
                case Add():
                    other = value if step.operand is None else f"_mm512_loadu_ps(add{number} + {at})"
                    writer.line(f"{value} = _mm512_add_ps({value}, {other});")
                case Activation():
                    _apply_relu(writer, value, step.node.param, number)
                case _:
                    assert_never(step.node)

    def fields(self, layout: Layout) -> tuple[WeightField, ...]:
        """Packed parameters of the chain's batch norms for a tensor of this layout."""
        return tuple(packing.norm_array(node, layout) for node in self._norms())

    def packs(self, layout: Layout) -> tuple[PackCall, ...]:
        """The calls that pack them."""
        return tuple(packing.pack_norm(node, layout) for node in self._norms())

    def _norms(self) -> list[BatchNorm]:
        return [step.node for step in self.steps if isinstance(step.node, BatchNorm)]


def _neutral(step: Step) -> Step:
    match step.node:
        case BatchNorm():
            return Step(BatchNorm("", ""))
        case Add():
            return Step(Add("", "", ""), None if step.operand is None else "")
        case Activation():
            return Step(Activation("", "", step.node.kind, step.node.param))
        case _:
            assert_never(step.node)


def _word(step: Step) -> str:
    match step.node:
        case BatchNorm():
            return "norm"
        case Add():
            return "double" if step.operand is None else "add"
        case Activation():
            if step.node.param == 0:
                return "relu"
            digits = f"{step.node.param:g}".replace("-", "m").replace(".", "p").replace("+", "")
            return f"relu{digits}"
        case _:
            assert_never(step.node)


def _apply_relu(writer: Writer, value: str, slope: float, number: int) -> None:
    if slope == 0:
        # the operand order matters: max returns its second operand when one is NaN
        writer.line(f"{value} = _mm512_max_ps(_mm512_setzero_ps(), {value});")
    elif slope != 1:
        mask = f"negative{number}"
        writer.line(f"const __mmask16 {mask} = _mm512_cmp_ps_mask({value}, _mm512_setzero_ps(), _CMP_LE_OQ);")
        writer.line(f"{value} = _mm512_mask_mul_ps({value}, {mask}, {value}, _mm512_set1_ps({float_literal(slope)}));")


def float_literal(value: float) -> str:
    """A C constant for the float32 nearest to `value`."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    text = f"{rounded:.9g}"
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
