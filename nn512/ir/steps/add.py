"""Addition as a step: another tensor is added to the value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from nn512.graph.nodes import Add
from nn512.ir.steps.step import ElementwiseStep


@dataclass(frozen=True, slots=True)
class AddStep(ElementwiseStep):
    """The sum of the value and `operand`; without an operand, of the value and itself."""

    node: Add
    operand: str | None = None

    is_cheap: ClassVar[bool] = False
    may_precede: ClassVar[bool] = False

    @property
    def operands(self) -> tuple[str, ...]:
        """What is added, unless that is the value itself."""
        return () if self.operand is None else (self.operand,)

    @property
    def word(self) -> str:
        """The sum with what is added: passes may have swapped or renamed its operands."""
        return f"Add {self.node.to_tensor} (+ {self.operand or 'itself'})"

    def reading(self, names: Mapping[str, str]) -> Self:
        """The sum with what is added renamed."""
        return (
            self if self.operand is None else dataclasses.replace(self, operand=names.get(self.operand, self.operand))
        )

    def swapped(self, value: str) -> AddStep | None:
        """The same sum from the other side."""
        return None if self.operand is None else AddStep(self.node, value)

    def on_graph(self, value: str, operands: tuple[str, ...]) -> Add:
        """The sum of two tensors of the graph."""
        return self.node.with_tensors((value, operands[0] if operands else value))

    @property
    def neutral(self) -> Self:
        """The sum of nobody in particular."""
        return dataclasses.replace(self, node=Add("", "", ""), operand=None if self.operand is None else "")
