"""Functions of two tensors as steps: the value is combined with another tensor, or with itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from nn512.graph.nodes import Binary, Max, Min, Shape
from nn512.ir.steps.step import ElementwiseStep


class Spread(NamedTuple):
    """Along which axes an operand has one element for all of the value's."""

    channels: bool = False
    rows: bool = False
    columns: bool = False

    @property
    def is_pixel(self) -> bool:
        """Whether all pixels of a channel meet the same element."""
        return self.rows and self.columns

    @property
    def rides(self) -> bool:
        """Whether the operand can be read wherever the value is: pixel by pixel, or once for all pixels."""
        return self == WHOLE or self.is_pixel

    @classmethod
    def of(cls, value: Shape, operand: Shape) -> Spread:
        """How an operand of one shape is spread over a value of another, which it fits."""
        channels = operand.channels < value.channels
        if operand.pixels == 1 < value.pixels:
            return cls(channels, rows=True, columns=True)
        return cls(channels, operand.height < value.height, operand.width < value.width)


WHOLE = Spread()
"""Of an operand that has the shape of the value."""


@dataclass(frozen=True, slots=True)
class BinaryStep(ElementwiseStep):
    """The node's function of the value and `operand`; without an operand, of the value and itself.

    `spread` says where the operand is one element for many. `reverses`: the operand is the first tensor of the node,
    the value the second, where that makes a difference.
    """

    node: Binary
    operand: str | None = None
    spread: Spread = WHOLE
    reverses: bool = False

    is_cheap: ClassVar[bool] = False

    @property
    def may_precede(self) -> bool:
        """Whether the operand is the same for all pixels, as parameters are."""
        return self.spread.is_pixel

    @property
    def may_follow(self) -> bool:
        """Whether the operand is read as the value is, or is the same for all pixels."""
        return self.spread.rides

    @property
    def operands(self) -> tuple[str, ...]:
        """What the value is combined with, unless that is the value itself."""
        return () if self.operand is None else (self.operand,)

    @property
    def operands_in_lanes(self) -> tuple[str, ...]:
        """The operand, unless its only channel meets all of the value's."""
        return () if self.spread.channels else self.operands

    @property
    def is_identity(self) -> bool:
        """Whether this is the larger or the smaller of the value and itself."""
        return self.operand is None and isinstance(self.node, Max | Min)

    @property
    def key(self) -> tuple[object, ...]:
        """Which of the two is the first tensor, too."""
        return type(self), self.node.key, len(self.operands), self.reverses

    @property
    def word(self) -> str:
        """The function with its operand: passes may have swapped or renamed tensors."""
        mark = _MARKS.get(type(self.node).__name__, "with ")
        other = self.operand or "itself"
        words = f"{other} {mark}it" if self.reverses else f"{mark}{other}"
        return f"{type(self.node).__name__} {self.node.to_tensor} ({words})"

    def reading(self, names: Mapping[str, str]) -> Self:
        """The step with its operand renamed."""
        return (
            self if self.operand is None else dataclasses.replace(self, operand=names.get(self.operand, self.operand))
        )

    def as_identity(self) -> ElementwiseStep | None:
        """The step itself, where it is one."""
        return self if self.is_identity else None

    def swapped(self, value: str) -> BinaryStep | None:
        """The same function from the other side."""
        if self.operand is None or self.spread != WHOLE:
            return None
        return dataclasses.replace(self, operand=value, reverses=not self.reverses and not self.node.COMMUTES)

    def on_graph(self, value: str, operands: tuple[str, ...]) -> Binary:
        """The node on two tensors of the graph."""
        other = operands[0] if operands else value
        return self.node.with_tensors((other, value) if self.reverses else (value, other))

    @property
    def neutral(self) -> Self:
        """The function of nobody in particular."""
        node = type(self.node)("", "", "")
        return dataclasses.replace(self, node=node, operand=None if self.operand is None else "")


_MARKS = {"Add": "+ ", "Sub": "- ", "Mul": "* ", "Div": "/ "}
"""What stands in front of the operand."""


def binary_step(node: Binary, shapes: Mapping[str, Shape]) -> BinaryStep:
    """The step of a node, on its first tensor."""
    if node.from_tensor1 == node.from_tensor2:
        return BinaryStep(node)
    value, operand = (shapes[name] for name in node.reads)
    return BinaryStep(node, node.from_tensor2, Spread.of(value, operand))
