"""The node Max: the larger of two tensors."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.binary import Binary
from nn512.graph.moments import Moments, larger


@dataclass(frozen=True, slots=True)
class Max(Binary):
    """Element-wise maximum of two tensors.

    An extent of FromTensor2 equals that of FromTensor1 or is 1: then it is used for all channels, rows or columns.
    Both may be the same tensor.
    """

    def moments_of_one(self, read: Moments) -> Moments:
        """The value itself."""
        return read

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """Those of the larger of two normal values."""
        return larger(first, second)
