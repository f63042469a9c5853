"""Element-wise steps on a vector in registers: the C of a chain, its parameters and its arguments.

A chain is written into shared routines under neutral names (`affine0`, `add1`, by the number of the step); every layer
that calls such a routine passes its own pointers for them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from nn512.cgen import names
from nn512.cgen.code import PackCall, PackedArray
from nn512.cgen.expressions import Expression, Name
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Activation, Add, BatchNorm
from nn512.ir import AddStep, NormStep, ReluStep, Step
from nn512.kernels import packing
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class Chain:
    """A sequence of element-wise steps; neutral names are numbered from `start`.

    In a body that several layers share (`shared`), what the steps read has neutral names, too.
    """

    steps: tuple[Step, ...]
    start: int = 0
    shared: bool = False

    @property
    def suffix(self) -> str:
        """StepPart of the name of a routine that ends in this chain, such as `_add_relu`."""
        return "".join(f"_{_word(step)}" for step in self.steps)

    @property
    def description(self) -> tuple[str, ...]:
        """The steps as a comment names them."""
        return tuple(_description(step) for step in self.steps)

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
        return tuple(operand for step in self.steps for operand in step.operands)

    def inputs(self) -> Iterator[tuple[str, BatchNorm | str]]:
        """What the steps read besides the value, a batch norm's parameters or a tensor, each with its neutral name."""
        for number, step in enumerate(self.steps, self.start):
            if isinstance(step.node, BatchNorm):
                yield f"affine{number}", step.node
            yield from ((f"add{number}", operand) for operand in step.operands)

    def parameters(self) -> list[str]:
        """Declarations of a routine's parameters for the chain."""
        return [
            affine_pointer(name) if isinstance(read, BatchNorm) else f"const float *restrict {name}"
            for name, read in self.inputs()
        ]

    def forwarded(self) -> list[str]:
        """The parameters' names, to hand them on."""
        return [name for name, _ in self.inputs()]

    @property
    def addends(self) -> list[str]:
        """The parameters that point to what is added."""
        return [name for name, read in self.inputs() if isinstance(read, str)]

    def arguments(self, block: Expression, *pixel: Expression) -> list[Expression]:
        """What a layer passes: the chain's data from block `block` on, additions at `pixel` (its indices)."""
        result: list[Expression] = []
        for name, read in self.inputs():
            if isinstance(read, BatchNorm):
                result.append(Name(name if self.shared else f"net->{packing.norm_field(read)}").offset(block))
            else:
                result.append(Name(name if self.shared else names.local(read)).at(block, *pixel))
        return result

    def bind(self, writer: Writer, block: Expression, *pixel: Expression) -> None:
        """Declare the chain's parameters as local variables, for a chain that is not in a shared routine."""
        for parameter, argument in zip(self.parameters(), self.arguments(block, *pixel), strict=True):
            writer.line(f"{parameter} = {argument};")

    def apply(self, writer: Writer, value: Expression, block: Expression, at: Expression) -> None:
        """Write the steps on variable `value`: `block` indexes the blocks passed, `at` is the offset in floats."""
        for number, step in enumerate(self.steps, self.start):
            match step.node:
                case BatchNorm():
                    affine = Name(f"affine{number}").at(block)
                    scale, shift = (f"_mm512_loadu_ps({affine.at(part)})" for part in (0, 1))
                    writer.line(f"{value} = _mm512_fmadd_ps({value}, {scale}, {shift});")
                case Add():
                    other = value if not step.operands else f"_mm512_loadu_ps({Name(f'add{number}') + at})"
                    writer.line(f"{value} = _mm512_add_ps({value}, {other});")
                case Activation():
                    _apply_relu(writer, value, step.node.param, number)
                case _:
                    assert_never(step.node)

    def fields(self, layout: Layout) -> tuple[PackedArray, ...]:
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
            return NormStep(BatchNorm("", ""))
        case Add():
            return AddStep(Add("", "", ""), "" if step.operands else None)
        case Activation():
            return ReluStep(Activation("", "", step.node.kind, step.node.param))
        case _:
            assert_never(step.node)


def _word(step: Step) -> str:
    match step.node:
        case BatchNorm():
            return "norm"
        case Add():
            return "add" if step.operands else "double"
        case Activation():
            if step.node.param == 0:
                return "relu"
            digits = f"{step.node.param:g}".replace("-", "m").replace(".", "p").replace("+", "")
            return f"relu{digits}"
        case _:
            assert_never(step.node)


def _description(step: Step) -> str:
    match step.node:
        case BatchNorm():
            return "batch norm"
        case Add():
            return "addition" if step.operands else "doubling"
        case Activation():
            return "ReLU" if step.node.param == 0 else f"ReLU {step.node.param:g}"
        case _:
            assert_never(step.node)


def affine_pointer(name: str) -> str:
    """Declaration of a pointer to what a batch norm does to each block: [block][scales, then shifts][lane]."""
    return f"const float (*restrict {name})[2][16]"


def _apply_relu(writer: Writer, value: Expression, slope: float, number: int) -> None:
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
