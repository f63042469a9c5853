"""The node LRN: local response normalization across channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape

WIDEST = 33
"""Channels of a window at most: those of a block see no further than into the next one on both sides."""

STEEPEST = 8
"""Largest exponent."""

LEAST = 2.0**-100
"""What the numbers must not be below: float32 has no digits to lose in them."""


@dataclass(frozen=True, slots=True)
class LRN(Layer):
    """Local response normalization across channels: `x / (Bias + Alpha / Size * s)^Beta`, at every spatial position.

    s is the sum of the squares of Size channels: the one itself, (Size - 1) / 2 before it, rounded down, and Size / 2
    behind it. Channels that there are not count as zeros.
    """

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    size: int = declare("Size", ValueType.POSITIVE, "How many channels a window has.", limit=WIDEST)
    alpha: float = declare("Alpha", ValueType.NUMBER, "Factor of the mean square; must be above 0.", 0.0001, least=0.0)
    beta: float = declare("Beta", ValueType.NUMBER, f"Exponent, above 0 and up to {STEEPEST}.", 0.75, least=0.0)
    bias: float = declare(
        "Bias", ValueType.NUMBER, "What the mean square is added to; must be above 0.", 1.0, least=0.0
    )

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:  # noqa: ARG002 - of any shape
        """What would divide by zero or change nothing, and powers that no evaluation could get right."""
        for name, number in (("Alpha", self.alpha), ("Beta", self.beta), ("Bias", self.bias)):
            if number < LEAST:
                yield Mistake(
                    name, f"{name} is {number:g}; it must be {'above 0' if number == 0 else 'at least 2^-100'}"
                )
        if self.beta > STEEPEST:
            yield Mistake("Beta", f"Beta is {self.beta:g}; {STEEPEST} is the largest exponent")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read."""
        return shapes[self.from_tensor]

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of what is read, by the factor of the usual sum."""
        factor = float((self.bias + self.alpha * read[0].power) ** -self.beta)
        return Moments(read[0].mean * factor, read[0].variance * factor**2)

    def describe(self) -> str:
        """The tensor, and the size of the window."""
        return f"LRN {self.to_tensor} ({self.size} channels)"
