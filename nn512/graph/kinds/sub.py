"""The node Sub: the difference of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.binary import Binary
from nn512.graph.moments import Moments


@dataclass(frozen=True, slots=True)
class Sub(Binary):
    """Element-wise difference of two tensors, FromTensor1 - FromTensor2.

    An extent of FromTensor2 equals that of FromTensor1 or is 1: then it is used for all channels, rows or columns.
    Both may be the same tensor.
    """

    COMMUTES: ClassVar[bool] = False

    def moments_of_one(self, read: Moments) -> Moments:
        """Zero; it counts as spread, as what reads it must have parameters of some size."""
        return Moments(0.0, read.variance)

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """Variances add up, whatever the signs."""
        return Moments(first.mean - second.mean, first.variance + second.variance)
