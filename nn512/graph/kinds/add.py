"""The node Add: the sum of two tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.diagnostics import quote
from nn512.graph.fields import read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape


@dataclass(frozen=True, slots=True)
class Add(Layer):
    """Element-wise sum of two tensors of the same shape (which may be the same tensor)."""

    from_tensor1: str = read_tensor("FromTensor1")
    from_tensor2: str = read_tensor("FromTensor2")
    to_tensor: str = written_tensor()

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """Two shapes."""
        if shapes[self.from_tensor1] != shapes[self.from_tensor2]:
            first, second = (f"{quote(name)} is {shapes[name]}" for name in self.reads)
            yield Mistake("FromTensor2", f"Add needs two tensors of the same shape, but {first} and {second}")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of both tensors."""
        return shapes[self.from_tensor1]

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of a sum of independent values, or of twice the same."""
        first, second = read
        if self.from_tensor1 == self.from_tensor2:
            return Moments(2 * first.mean, 4 * first.variance)
        return Moments(first.mean + second.mean, first.variance + second.variance)

    def describe(self) -> str:
        """The tensor, and the two that are read."""
        return f"Add {self.to_tensor} ({self.from_tensor1}, {self.from_tensor2})"
