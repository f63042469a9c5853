"""The node Min: the smaller of two tensors."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.binary import Binary
from nn512.graph.moments import Moments, larger


@dataclass(frozen=True, slots=True)
class Min(Binary):
    """Element-wise minimum of two tensors.

    An extent of FromTensor2 equals that of FromTensor1 or is 1: then it is used for all channels, rows or columns.
    Both may be the same tensor.
    """

    def moments_of_one(self, read: Moments) -> Moments:
        """The value itself."""
        return read

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """Those of the smaller of two normal values."""
        mean, variance = larger(first.negative, second.negative)
        return Moments(-mean, variance)
