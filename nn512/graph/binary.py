"""What nodes of two tensors have in common that act element by element: sums, products and their like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.diagnostics import quote
from nn512.graph.fields import read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape


@dataclass(frozen=True, slots=True)
class Binary(Layer):
    """A function of two tensors, element by element. An extent of the second equals that of the first or is 1.

    `COMMUTES`: the tensors may change places.
    """

    COMMUTES: ClassVar[bool] = True

    from_tensor1: str = read_tensor("FromTensor1")
    from_tensor2: str = read_tensor("FromTensor2")
    to_tensor: str = written_tensor()

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """A second tensor that does not fit the first."""
        first, second = (shapes[name] for name in self.reads)
        if not fits(first, second):
            told = " and ".join(f"{quote(name)} is {shapes[name]}" for name in self.reads)
            kind = type(self).__name__
            hint = "; they may change places" if self.COMMUTES and fits(second, first) else ""
            wanted = "whose extents are those of the first, or 1"
            yield Mistake("FromTensor2", f"{kind} needs a second tensor {wanted}, but {told}{hint}")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the first tensor."""
        return shapes[self.from_tensor1]

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of two independent values, or of the same one twice."""
        first, second = read
        if self.from_tensor1 == self.from_tensor2:
            return self.moments_of_one(first)
        return self.moments_of_two(first, second)

    def moments_of_one(self, read: Moments) -> Moments:
        """How values are spread where both tensors are the same."""
        raise NotImplementedError(type(self).__name__)

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """How values are spread where the tensors are independent."""
        raise NotImplementedError(type(self).__name__)

    def describe(self) -> str:
        """The tensor, and the two that are read."""
        return f"{type(self).__name__} {self.to_tensor} ({self.from_tensor1}, {self.from_tensor2})"


def fits(first: Shape, second: Shape) -> bool:
    """Whether a tensor may be the second one beside the first: its extents are the same or 1."""
    return all(extent in {whole, 1} for whole, extent in zip(first, second, strict=True))
