"""What every element-wise step answers."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

from nn512.graph.nodes import Activation, BatchNorm, Binary


@dataclass(frozen=True, slots=True)
class ElementwiseStep:
    """One element-wise operation on a value that is in registers; `node` is the graph node that it stands for.

    `has_parameters`: the step reads parameters, one value or more per channel. `is_cheap`: to compute it twice costs
    less than to write its result to memory and read it again.
    """

    node: BatchNorm | Binary | Activation

    has_parameters: ClassVar[bool] = False
    is_cheap: ClassVar[bool] = True

    @property
    def may_precede(self) -> bool:
        """Whether the step can be done on what a convolution or a pooling reads."""
        return True

    @property
    def may_follow(self) -> bool:
        """Whether the step can be done on what any operation writes."""
        return True

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the tensors that are read besides the value."""
        return ()

    @property
    def operands_in_lanes(self) -> tuple[str, ...]:
        """Those of which every channel meets the same channel of the value."""
        return self.operands

    @property
    def key(self) -> Hashable:
        """Everything that decides what the step computes, but for the names of tensors."""
        return type(self), self.node.key, len(self.operands)

    @property
    def neutral(self) -> Self:
        """The step without the names of tensors: what code that several layers share may know of it."""
        node = self.node
        names = {name: "" for name in (*node.reads, node.writes) if name is not None}
        return dataclasses.replace(self, node=dataclasses.replace(node.renamed(names), spans=None))

    @property
    def is_identity(self) -> bool:
        """Whether the step changes nothing."""
        return False

    @property
    def word(self) -> str:
        """The step in a listing of the program."""
        raise NotImplementedError

    def reading(self, names: Mapping[str, str]) -> Self:
        """The step with its operands renamed; `names` maps old names to new ones."""
        del names  # most steps have none
        return self

    def swapped(self, value: str) -> ElementwiseStep | None:
        """The step on its operand, with the tensor `value` as the operand instead; None where that is another step."""
        del value
        return None

    def then(self, following: ElementwiseStep) -> ElementwiseStep | None:
        """One step that does what this one and `following` do; None where there is none."""
        del following
        return None

    def as_identity(self) -> ElementwiseStep | None:
        """A step of the same node that changes nothing, for a chain that must not be empty; None if there is none."""
        return None

    def on_graph(self, value: str, operands: tuple[str, ...]) -> BatchNorm | Binary | Activation:
        """The graph node that computes the step on these tensors of the graph."""
        return self.node.with_tensors((value, *operands))


Chain: TypeAlias = tuple[ElementwiseStep, ...]
"""Steps that are done one after another."""


def nearest_single(value: float) -> float:
    """The float32 nearest to a number; the language allows none that would overflow."""
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest
