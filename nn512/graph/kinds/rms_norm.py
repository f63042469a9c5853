"""The node RMSNorm: division by the root mean square over the channels of every position."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Distribution, Layer, ParameterKind, Shape


@dataclass(frozen=True, slots=True)
class RMSNorm(Layer):
    """Division by the root mean square: `Scale * x / sqrt(mean of x^2 + Epsilon)`, at every spatial position.

    The mean is that of the channels there. Parameter, one value per channel: `<ToTensor>Scales`.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (ParameterKind("Scales", Distribution.SCALES),)

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    epsilon: float = declare(
        "Epsilon", ValueType.NUMBER, "Added to every mean square; must not be negative.", 0.00001, least=0.0
    )

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read."""
        return shapes[self.from_tensor]

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:
        """One value per channel."""
        return ((shapes[self.from_tensor].channels,),)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of what is read, for a mean square of one."""
        power = read[0].power + self.epsilon
        return Moments(read[0].mean / math.sqrt(power), read[0].variance / power) if power > 0 else read[0]
