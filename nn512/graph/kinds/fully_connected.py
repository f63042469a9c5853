"""The node FullyConnected: a product of a matrix and the whole tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Distribution, Layer, ParameterKind, Shape


@dataclass(frozen=True, slots=True)
class FullyConnected(Layer):
    """Every output is a weighted sum of the whole input tensor plus a bias; the result is ToChannels x 1 x 1.

    Parameters: `<ToTensor>Weights`, ToChannels x Channels x Height x Width, and `<ToTensor>Biases`, ToChannels.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (
        ParameterKind("Weights", Distribution.WEIGHTS),
        ParameterKind("Biases", Distribution.BIASES),
    )

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    to_channels: int = declare("ToChannels", ValueType.POSITIVE, "Number of outputs.")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:  # noqa: ARG002 - the same for all
        """A single pixel."""
        return Shape(self.to_channels, 1, 1)

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:
        """Weights and biases."""
        return (self.to_channels, *shapes[self.from_tensor]), (self.to_channels,)

    def multiply_accumulates(self, shapes: Mapping[str, Shape]) -> int:
        """The whole tensor, for every output."""
        return self.to_channels * shapes[self.from_tensor].elements

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """What weights of variance 2 / fan-in and small biases make."""
        return Moments(0.0, 2.01 * read[0].power)
