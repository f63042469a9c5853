"""The node BatchNorm: batch normalization with statistics given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Distribution, Layer, ParameterKind, Shape


@dataclass(frozen=True, slots=True)
class BatchNorm(Layer):
    """Batch normalization: `Scale * (x - Mean) / sqrt(Variance + Epsilon) + Shift` per channel, statistics given.

    Parameters, one value per channel each: `<ToTensor>Means`, `<ToTensor>Variances`, `<ToTensor>Scales` and
    `<ToTensor>Shifts`.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (
        ParameterKind("Means", Distribution.MEANS),
        ParameterKind("Variances", Distribution.VARIANCES),
        ParameterKind("Scales", Distribution.SCALES),
        ParameterKind("Shifts", Distribution.SHIFTS),
    )

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    epsilon: float = declare(
        "Epsilon", ValueType.NUMBER, "Added to every variance; must not be negative.", 0.00001, least=0.0
    )

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read."""
        return shapes[self.from_tensor]

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:
        """One value per channel each."""
        return ((shapes[self.from_tensor].channels,),) * len(self.PARAMETERS)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Normalized, then scaled and shifted at random."""
        return Moments(0.0, 1.2)
