"""Activation functions as steps. Most have nothing to say about themselves; ReLUs are identities and compose."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from nn512.graph.describe import describe
from nn512.graph.nodes import Activation
from nn512.ir.steps.step import ElementwiseStep, nearest_single

SMALLEST_NORMAL = 2.0**-126
OVERFLOW = 2.0**128 - 2.0**103  # what rounds to infinity in float32


@dataclass(frozen=True, slots=True)
class ActivationStep(ElementwiseStep):
    """An activation function."""

    node: Activation

    @property
    def word(self) -> str:
        """The node in words."""
        return describe(self.node)


@dataclass(frozen=True, slots=True)
class ReluStep(ActivationStep):
    """A ReLU of any slope: x where x > 0, slope * x otherwise."""

    @property
    def slope(self) -> float:
        """The slope as float32 has it."""
        return nearest_single(self.node.param)

    @property
    def is_identity(self) -> bool:
        """Whether the slope is 1."""
        return self.node.param == 1

    def then(self, following: ElementwiseStep) -> ElementwiseStep | None:
        """Two ReLUs in a row are one with the product of their slopes.

        After a slope a >= 0 a negative value is still negative, so the next slope b applies: a*b. After a < 0 it is
        positive and stays as it is: a. Two stay two where float32 cannot hold their product.
        """
        if not isinstance(following, ReluStep):
            return None
        before, after = self.slope, following.slope
        slope = before if before < 0 else before * after
        normal = SMALLEST_NORMAL <= abs(slope) < OVERFLOW
        fits = before < 0 or normal or before == 0 or after == 0
        return following.with_slope(slope) if fits else None

    def as_identity(self) -> ElementwiseStep:
        """The same node with slope 1."""
        return self.with_slope(1.0)

    def with_slope(self, slope: float) -> ReluStep:
        """The same node with another slope."""
        return ReluStep(dataclasses.replace(self.node, param=slope))

    @classmethod
    def of(cls, node: Activation) -> ReluStep:
        """The step of a node; a slope that is 0, 1 or -1 to float32 is that, so that nobody need round to find out."""
        slope = nearest_single(node.param)
        return cls(dataclasses.replace(node, param=slope) if abs(slope) in (0, 1) and slope != node.param else node)


@dataclass(frozen=True, slots=True)
class PReluStep(ActivationStep):
    """A ReLU with a slope for every channel: its parameters, which nobody knows when it is compiled."""

    has_parameters: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = False


_WITH_ALGEBRA = MappingProxyType({"ReLU": ReluStep.of, "PReLU": PReluStep})


def activation_step(node: Activation) -> ActivationStep:
    """The step of an activation function: a class of its own where it has one."""
    return _WITH_ALGEBRA.get(node.kind, ActivationStep)(node)
