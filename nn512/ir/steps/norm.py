"""Batch norm as a step: a fused multiply-add with a scale and a shift per channel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Self

from nn512.graph.describe import describe
from nn512.graph.nodes import BatchNorm
from nn512.ir.steps.step import ElementwiseStep


@dataclass(frozen=True, slots=True)
class NormStep(ElementwiseStep):
    """A batch norm that is computed on its own."""

    node: BatchNorm

    has_parameters: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = False

    @property
    def word(self) -> str:
        """The node in words."""
        return describe(self.node)

    @property
    def neutral(self) -> Self:
        """Without epsilon, too: it is part of the packed scales and shifts."""
        return dataclasses.replace(self, node=BatchNorm("", ""))
