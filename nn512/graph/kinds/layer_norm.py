"""The node LayerNorm: normalization over the channels of every position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Distribution, Layer, ParameterKind, Shape


@dataclass(frozen=True, slots=True)
class LayerNorm(Layer):
    """Layer normalization: `Scale * (x - mean) / sqrt(variance + Epsilon) + Shift`, at every spatial position.

    Mean and variance are those of the channels there: the mean of the squared distances from the mean. Parameters, one
    value per channel each: `<ToTensor>Scales` and `<ToTensor>Shifts`.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (
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
