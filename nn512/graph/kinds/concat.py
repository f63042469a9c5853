"""The node Concat: the channels of two tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.diagnostics import quote
from nn512.graph.fields import read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape


@dataclass(frozen=True, slots=True)
class Concat(Layer):
    """The channels of FromTensor1 followed by those of FromTensor2; both have the same height and width."""

    from_tensor1: str = read_tensor("FromTensor1")
    from_tensor2: str = read_tensor("FromTensor2")
    to_tensor: str = written_tensor()

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """Two sizes of pictures."""
        if shapes[self.from_tensor1][1:] != shapes[self.from_tensor2][1:]:
            first, second = (f"{quote(name)} is {shapes[name]}" for name in self.reads)
            need = "Concat needs two tensors of the same height and width"
            yield Mistake("FromTensor2", f"{need}, but {first} and {second}")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """The channels of both."""
        first, second = shapes[self.from_tensor1], shapes[self.from_tensor2]
        return Shape(first.channels + second.channels, first.height, first.width)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:
        """Those of a mixture."""
        first, second = read
        share = shapes[self.from_tensor1].channels / shapes[self.to_tensor].channels
        mean = share * first.mean + (1 - share) * second.mean
        return Moments(mean, share * first.power + (1 - share) * second.power - mean**2)

    def describe(self) -> str:
        """The tensor, and the two that are read."""
        return f"Concat {self.to_tensor} ({self.from_tensor1}, {self.from_tensor2})"
