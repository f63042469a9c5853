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
from nn512.graph.nodes import BatchNorm
from nn512.ir import ElementwiseStep
from nn512.kernels import packing
from nn512.kernels.chain.add import operand_name
from nn512.kernels.chain.code import Value
from nn512.kernels.chain.norm import affine_name, affine_pointer
from nn512.kernels.chain.steps import code_of
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class ChainCode:
    """A sequence of element-wise steps; neutral names are numbered from `start`.

    In a body that several layers share (`shared`), what the steps read has neutral names, too.
    """

    steps: tuple[ElementwiseStep, ...]
    start: int = 0
    shared: bool = False

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
                yield affine_name(number), step.node
            yield from ((operand_name(number), operand) for operand in step.operands)

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
            code_of(step).apply(writer, step, Value(value, number, block, at))

    def fields(self, layout: Layout) -> tuple[PackedArray, ...]:
        """Packed parameters of the chain's batch norms for a tensor of this layout."""
        return tuple(packing.norm_array(node, layout) for node in self._norms())

    def packs(self, layout: Layout) -> tuple[PackCall, ...]:
        """The calls that pack them."""
        return tuple(packing.pack_norm(node, layout) for node in self._norms())

    def _norms(self) -> list[BatchNorm]:
        return [step.node for step in self.steps if isinstance(step.node, BatchNorm)]
