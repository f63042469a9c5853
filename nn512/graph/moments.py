"""Rough distributions of the values in tensors, from which random parameters take their magnitudes."""

from __future__ import annotations

from math import erf, exp, pi, sqrt
from typing import NamedTuple


class Moments(NamedTuple):
    """Mean and variance of the values in a tensor, as if they were normal and independent."""

    mean: float
    variance: float

    @property
    def power(self) -> float:
        """Mean square."""
        return self.mean**2 + self.variance


def above_zero(values: Moments) -> Moments:
    """Distribution of max(x, 0) for a normal x: the moments of the rectified normal distribution."""
    deviation = sqrt(values.variance)
    ratio = values.mean / deviation
    density = exp(-(ratio**2) / 2) / sqrt(2 * pi)
    probability = (1 + erf(ratio / sqrt(2))) / 2
    mean = values.mean * probability + deviation * density
    power = values.power * probability + values.mean * deviation * density
    return Moments(mean, max(power - mean**2, 0.0))
