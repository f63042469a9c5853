"""Element-wise steps on a vector in registers: the C of a chain, its parameters and its arguments.

A chain is written into shared routines under neutral names (`affine0`, `add1`, by the number of the step); every layer
that calls such a routine passes its own pointers for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.code import PackCall, PackedArray
from nn512.cgen.expressions import Expression, Name
from nn512.cgen.writer import Writer
from nn512.ir import WHOLE, BinaryStep, ElementwiseStep
from nn512.kernels.chain.binary import held, operand_name, operand_pointer, spread_indices
from nn512.kernels.chain.code import Operand, Parameters, Value
from nn512.kernels.chain.steps import code_of
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class ChainCode:
    """A sequence of element-wise steps; neutral names are numbered from `start`.

    In a body that several layers share (`shared`), what the steps read has neutral names, too. A chain that `holds`
    has operands that are the same along a row in registers, for a kernel that goes from pixel to pixel.
    """

    steps: tuple[ElementwiseStep, ...]
    start: int = 0
    shared: bool = False
    holds: bool = False

    @property
    def suffix(self) -> str:
        """Part of the name of a routine that ends in this chain, such as `_add_relu`."""
        return "".join(f"_{code_of(step).word(step)}" for step in self.steps)

    @property
    def description(self) -> tuple[str, ...]:
        """The steps as a comment names them."""
        return tuple(code_of(step).description(step) for step in self.steps)

    @property
    def neutral(self) -> ChainCode:
        """The chain as a shared routine sees it: which steps, but not whose."""
        return ChainCode(tuple(step.neutral for step in self.steps), self.start)

    @property
    def has_parameters(self) -> bool:
        """Whether there is a step in the chain that reads parameters of the net."""
        return any(isinstance(read, Parameters) for _, read in self.inputs())

    @property
    def operands(self) -> tuple[str, ...]:
        """Tensors that steps of the chain read besides the value."""
        return tuple(operand for step in self.steps for operand in step.operands)

    @property
    def by_rows(self) -> bool:
        """Whether an operand has one element for all pixels of a row or a column, so that pixels are counted so."""
        return any(isinstance(step, BinaryStep) and step.spread.rows != step.spread.columns for step in self.steps)

    def inputs(self) -> Iterator[tuple[str, Parameters | Operand]]:
        """What the steps read besides the value, parameters or a tensor, each with its neutral name."""
        for number, step in enumerate(self.steps, self.start):
            code = code_of(step)
            if code.parameters is not None:
                yield f"{code.pointer}{number}", code.parameters(step)
            if isinstance(step, BinaryStep):
                name = operand_name(step, number)
                yield from ((name, Operand(operand, step.spread)) for operand in step.operands)

    def parameters(self) -> list[str]:
        """Declarations of a routine's parameters for the chain."""
        return [
            read.pointer(name) if isinstance(read, Parameters) else operand_pointer(read.spread, name)
            for name, read in self.inputs()
        ]

    def forwarded(self) -> list[str]:
        """The parameters' names, to hand them on."""
        return [name for name, _ in self.inputs()]

    @property
    def streams(self) -> list[str]:
        """The parameters that point to operands of which every vector is read once."""
        return [name for name, read in self.inputs() if isinstance(read, Operand) and read.spread == WHOLE]

    def arguments(self, block: Expression, *pixel: Expression) -> list[Expression]:
        """What a layer passes: the chain's data from block `block` on, operands at `pixel` (its indices)."""
        result: list[Expression] = []
        for name, read in self.inputs():
            if isinstance(read, Parameters):
                result.append(Name(name if self.shared else f"net->{read.field}").offset(block))
            else:
                tensor = Name(name if self.shared else names.local(read.tensor))
                result.append(tensor.at(*spread_indices(read.spread, block, pixel)))
        return result

    def bind(self, writer: Writer, block: Expression, *pixel: Expression) -> None:
        """Declare the chain's parameters as local variables, for a chain that is not in a shared routine."""
        arguments = self.arguments(block, *pixel)
        for parameter, argument, (name, read) in zip(self.parameters(), arguments, self.inputs(), strict=True):
            if self.holds and isinstance(read, Operand) and read.spread.columns:
                writer.line(f"const __m512 {name} = {held(read.spread, argument)};")
            else:
                writer.line(f"{parameter} = {argument};")

    def apply(self, writer: Writer, value: Expression, block: Expression, at: Expression) -> None:
        """Write the steps on variable `value`: `block` indexes the blocks passed, `at` is the offset in floats."""
        for number, step in enumerate(self.steps, self.start):
            code_of(step).apply(writer, step, Value(value, number, block, at, self.holds))

    def fields(self, layout: Layout) -> tuple[PackedArray, ...]:
        """Packed parameters of the chain's steps for a tensor of this layout."""
        return tuple(read.array(layout) for read in self._parameters())

    def packs(self, layout: Layout) -> tuple[PackCall, ...]:
        """The calls that pack them."""
        return tuple(read.pack(layout) for read in self._parameters())

    def _parameters(self) -> list[Parameters]:
        return [read for _, read in self.inputs() if isinstance(read, Parameters)]
