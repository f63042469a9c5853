"""Transcendental functions. Their values are limits at the infinities, and NaN stays NaN.

Float32 evaluations err by a few units in the last place; `ulps` is how many are granted, in units of 2^-23 of the
result. That is for the emitted C, whose bounds `nn512 doc Activation` lists, and for evaluations from a library's exp.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from nn512.graph.nodes import Activation
from reference.functions.function import Function
from reference.roundoff import SMALLEST_NORMAL, TINY, U
from reference.windows import Array, Mask

_OVERFLOW = 89.0
"""Its power of e is more than float32 holds."""


class Smooth(Function):
    """A function with a derivative.

    ulps: largest error of a float32 evaluation, in units of 2^-23 of `magnitude`.
    steepest: where its derivative is largest or smallest.
    """

    ulps: ClassVar[float]
    steepest: ClassVar[tuple[float, ...]]

    @abstractmethod
    def derivative(self, x: Array, node: Activation) -> Array:
        """Of the function at x."""

    def floor(self, x: Array) -> Array | float:
        """The error that is granted however small the result is."""
        del x
        return 2 * TINY

    def magnitude(self, x: Array, y: Array, node: Activation) -> Array:
        """What `ulps` is in units of."""
        del x, node
        return np.abs(y)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`. Largest at an end, or where the derivative turns."""
        low, high = x - reach, x + reach
        points = (low, high, *(np.clip(point, low, high) for point in self.steepest))
        return np.asarray(np.max([np.abs(self.derivative(point, node)) for point in points], axis=0))

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`. Errors are uniform, from nothing to the largest."""
        error = 2 * U * self.ulps * self.magnitude(x, y, node)
        return np.asarray((np.square(error) + np.square(self.floor(x))) / 3)

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`. Nothing but what is 0 at 0."""
        del node
        return np.asarray((x == 0) & (y == 0))


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    power = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, power, 1.0) / (1.0 + power))


def softened(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


class Sigmoid(Smooth):
    """Sigmoid."""

    kind = "Sigmoid"
    ulps = 4.0
    steepest = (0.0,)

    def value(self, x: Array, node: Activation) -> Array:
        """Sigmoid: 1 / (1 + exp(-x)); shape unchanged.

        -inf gives 0, +inf gives 1, NaN stays NaN. Results below 2^-126 may be flushed to zero.
        """
        del node
        return logistic(x)

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        return logistic(x) * logistic(-x)

    def floor(self, x: Array) -> Array | float:
        """See `Smooth`."""
        return np.where(x < -80, SMALLEST_NORMAL, 0.0)


class Silu(Smooth):
    """SiLU."""

    kind = "SiLU"
    ulps = 5.0
    steepest = (-2.3993572805, 2.3993572805)

    def value(self, x: Array, node: Activation) -> Array:
        """SiLU: x / (1 + exp(-x)); shape unchanged.

        -inf gives 0 (the product x * sigmoid(x) would be NaN), +inf stays, NaN stays NaN. Where the sigmoid is below
        2^-126 it may be flushed to zero, and the result with it.
        """
        del node
        return np.maximum(x, -800.0) * logistic(x)  # logistic(-800) is 0

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        share = logistic(x)
        return np.asarray(share * (1 + np.clip(x, -800.0, 800.0) * logistic(-x)))

    def floor(self, x: Array) -> Array | float:
        """See `Smooth`."""
        return np.where(x < -80, 128 * SMALLEST_NORMAL, 2 * TINY)


class Tanh(Smooth):
    """Tanh."""

    kind = "Tanh"
    ulps = 6.0
    steepest = (0.0,)

    def value(self, x: Array, node: Activation) -> Array:
        """Tanh: the hyperbolic tangent, (exp(x) - exp(-x)) / (exp(x) + exp(-x)); shape unchanged.

        -inf gives -1, +inf gives 1, NaN stays NaN.
        """
        del node
        return np.tanh(x)

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        return 1.0 - np.square(np.tanh(x))


class Exp(Smooth):
    """Exp."""

    kind = "Exp"
    ulps = 2.0
    steepest = ()

    def value(self, x: Array, node: Activation) -> Array:
        """Exp: e to the power of x; shape unchanged.

        -inf gives 0, +inf stays, NaN stays NaN. Results below 2^-126 may be flushed to zero.
        """
        del node
        return np.exp(x)

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        return np.exp(x)

    def unsure(self, x: Array, reach: Array, node: Activation) -> Mask:
        """See `Function`. An error may lead back from where the result is infinite."""
        del node
        return np.isfinite(x) & np.isposinf(np.exp(x)) & (x - reach < _OVERFLOW)

    def floor(self, x: Array) -> Array | float:
        """See `Smooth`."""
        return np.where(x < -80, SMALLEST_NORMAL, 0.0)


class Log(Smooth):
    """Log."""

    kind = "Log"
    ulps = 2.0
    steepest = ()

    def value(self, x: Array, node: Activation) -> Array:
        """Log: the natural logarithm of x; shape unchanged.

        Zeros of either sign give -inf, +inf stays. Of numbers below 0 it is NaN, and NaN stays NaN.
        """
        del node
        return np.log(x)

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`. Beyond the pole it is infinite."""
        del node
        return np.asarray(1.0 / np.maximum(x, 0.0))

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`. What is 0 at 1."""
        del y, node
        return np.asarray(x == 1)

    def unsure(self, x: Array, reach: Array, node: Activation) -> Mask:
        """See `Function`. An error may lead to the pole and below."""
        del node
        return np.asarray((reach > 0) & (np.abs(x) <= reach))
