"""Rough distributions of the values in tensors, from which random parameters take their magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, exp, pi, sqrt
from statistics import NormalDist, fmean, pvariance
from typing import NamedTuple

_QUANTILES = tuple(NormalDist().inv_cdf((i + 0.5) / 64) for i in range(64))
"""Of the standard normal distribution: 64 values that are equally likely."""


class Moments(NamedTuple):
    """Mean and variance of the values in a tensor, as if they were normal and independent."""

    mean: float
    variance: float

    @property
    def power(self) -> float:
        """Mean square."""
        return self.mean**2 + self.variance

    @property
    def negative(self) -> Moments:
        """Those of the negated values."""
        return Moments(-self.mean, self.variance)


def above_zero(values: Moments) -> Moments:
    """Distribution of max(x, 0) for a normal x: the moments of the rectified normal distribution."""
    deviation = sqrt(values.variance)
    ratio = values.mean / deviation
    density = exp(-(ratio**2) / 2) / sqrt(2 * pi)
    probability = (1 + erf(ratio / sqrt(2))) / 2
    mean = values.mean * probability + deviation * density
    power = values.power * probability + values.mean * deviation * density
    return Moments(mean, max(power - mean**2, 0.0))


def larger(first: Moments, second: Moments) -> Moments:
    """Distribution of the larger of two independent normal values: Clark, Operations Research 9(2), 1961."""
    deviation = sqrt(first.variance + second.variance)
    ratio = (first.mean - second.mean) / deviation
    density = exp(-(ratio**2) / 2) / sqrt(2 * pi)
    probability = (1 + erf(ratio / sqrt(2))) / 2
    mean = first.mean * probability + second.mean * (1 - probability) + deviation * density
    power = first.power * probability + second.power * (1 - probability)
    power += (first.mean + second.mean) * deviation * density
    return Moments(mean, max(power - mean**2, 0.0))


def through(function: Callable[[float], float], values: Moments) -> Moments:
    """Distribution of function(x) for a normal x, from 64 values of x that are equally likely."""
    deviation = sqrt(values.variance)
    results = [function(values.mean + deviation * quantile) for quantile in _QUANTILES]
    mean = fmean(results)
    return Moments(mean, pvariance(results, mean))
