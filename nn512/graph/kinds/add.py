"""The node Add: the sum of two tensors."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.binary import Binary
from nn512.graph.moments import Moments


@dataclass(frozen=True, slots=True)
class Add(Binary):
    """Element-wise sum of two tensors.

    An extent of FromTensor2 equals that of FromTensor1 or is 1: then it is used for all channels, rows or columns.
    Both may be the same tensor.
    """

    def moments_of_one(self, read: Moments) -> Moments:
        """Twice the value."""
        return Moments(2 * read.mean, 4 * read.variance)

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """Mean and variance add up."""
        return Moments(first.mean + second.mean, first.variance + second.variance)
