"""The node Mul: the product of two tensors."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.binary import Binary
from nn512.graph.moments import Moments


@dataclass(frozen=True, slots=True)
class Mul(Binary):
    """Element-wise product of two tensors.

    An extent of FromTensor2 equals that of FromTensor1 or is 1: then it is used for all channels, rows or columns.
    Both may be the same tensor.
    """

    def moments_of_one(self, read: Moments) -> Moments:
        """The square of a normal value."""
        return Moments(read.power, 2 * read.variance**2 + 4 * read.mean**2 * read.variance)

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """Means and mean squares multiply."""
        mean = first.mean * second.mean
        return Moments(mean, first.power * second.power - mean**2)
