"""The node Softmax: positive values that add up to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.fields import read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Shape


@dataclass(frozen=True, slots=True)
class Softmax(Layer):
    """`exp(x - max) / sum of exp(x - max)` over the channels, at every spatial position."""

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read."""
        return shapes[self.from_tensor]

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of shares of one whole."""
        mean = 1 / shapes[self.to_tensor].channels
        return Moments(mean, mean**2)
