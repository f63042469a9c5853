"""The node Div: the quotient of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nn512.graph.binary import Binary
from nn512.graph.moments import Moments


@dataclass(frozen=True, slots=True)
class Div(Binary):
    """Element-wise quotient of two tensors, FromTensor1 / FromTensor2.

    An extent of FromTensor2 equals that of FromTensor1 or is 1: then it is used for all channels, rows or columns.
    Both may be the same tensor.
    """

    COMMUTES: ClassVar[bool] = False

    def moments_of_one(self, read: Moments) -> Moments:
        """One; it counts as spread, as what reads it must have parameters of some size."""
        return Moments(1.0, read.variance / read.power)

    def moments_of_two(self, first: Moments, second: Moments) -> Moments:
        """As if the divisor had the size of its mean square: the quotient of normal values has no moments."""
        mean = first.mean * second.mean / second.power
        return Moments(mean, first.power / second.power - mean**2)
