"""Transcendental functions that weigh x by a share of it, such as GELU, and those that go with them.

Evaluations may form the share as 1 less something that is nearly 1, as x / 2 * (1 + erf(x / sqrt(2))) does. So they err
in units in the last place of x, not of results that are much smaller.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from nn512.graph.nodes import Activation
from reference.functions.smooth import Smooth, logistic, softened
from reference.windows import Array

_FAR = 40.0
"""Where gates are 0 or 1 in float32, whatever is next to them."""


class _Gate(Smooth):
    """Of x a share of it between 0 and 1, that tends to 0 and 1."""

    @abstractmethod
    def share(self, x: Array) -> Array:
        """The share, of finite numbers."""

    def value_of(self, x: Array) -> Array:
        """What the share makes of x; the limits at the infinities."""
        return np.asarray(np.where(x > _FAR, x, np.maximum(x, -_FAR) * self.share(np.clip(x, -_FAR, _FAR))))

    def magnitude(self, x: Array, y: Array, node: Activation) -> Array:
        """See `Smooth`. Half of x where less of it is left."""
        del node
        return np.maximum(np.abs(y), np.clip(-x, 0.0, 16.0) / 2)


class Gelu(_Gate):
    """GELU."""

    kind = "GELU"
    ulps = 3.0
    steepest = (-(2.0**0.5), 2.0**0.5)

    def value(self, x: Array, node: Activation) -> Array:
        """GELU: x * (1 + erf(x / sqrt(2))) / 2, which is x times the normal distribution; shape unchanged.

        -inf gives 0 (the product would be NaN), +inf stays, NaN stays NaN. Errors are in proportion to x: where the
        result is much smaller than x it may be lost.
        """
        del node
        return self.value_of(x)

    def share(self, x: Array) -> Array:
        """See `_Gate`."""
        from scipy.special import erfc  # noqa: PLC0415 - takes a fifth of the time that the tester needs to start

        return np.asarray(erfc(-x / np.sqrt(2)) / 2)

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        x = np.clip(x, -_FAR, _FAR)
        return np.asarray(self.share(x) + x * np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi))


class GeluTanh(_Gate):
    """GELUTanh."""

    kind = "GELUTanh"
    ulps = 5.0
    steepest = (-1.4185040089, 1.4185040089)

    def value(self, x: Array, node: Activation) -> Array:
        """GELUTanh: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2; shape unchanged.

        -inf gives 0 (the product would be NaN), +inf stays, NaN stays NaN. Errors are in proportion to x: where the
        result is much smaller than x it may be lost.
        """
        del node
        return self.value_of(x)

    def share(self, x: Array) -> Array:
        """See `_Gate`."""
        return logistic(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        x = np.clip(x, -_FAR, _FAR)
        inner = 2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * np.square(x))
        return np.asarray(self.share(x) * (1 + x * (1 - self.share(x)) * inner))


class Mish(_Gate):
    """Mish."""

    kind = "Mish"
    ulps = 6.0
    steepest = (-2.2563763674, 1.4905711762)

    def value(self, x: Array, node: Activation) -> Array:
        """Mish: x * tanh(log(1 + exp(x))); shape unchanged.

        -inf gives 0 (the product would be NaN), +inf stays, NaN stays NaN. Errors are in proportion to x: where the
        result is much smaller than x it may be lost.
        """
        del node
        return np.asarray(np.where(x > _FAR, x, np.maximum(x, -800.0) * self.share(np.clip(x, -800.0, _FAR))))

    def share(self, x: Array) -> Array:
        """See `_Gate`."""
        return np.tanh(softened(x))

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        x = np.clip(x, -800.0, _FAR)
        share = self.share(x)
        return np.asarray(share + x * logistic(x) * (1 - np.square(share)))


class Softplus(Smooth):
    """Softplus."""

    kind = "Softplus"
    ulps = 4.0
    steepest = ()

    def value(self, x: Array, node: Activation) -> Array:
        """Softplus: log(1 + exp(x)); shape unchanged.

        -inf gives 0, +inf stays, NaN stays NaN. The sum may be rounded: what is much smaller than 1 may be lost.
        """
        del node
        return softened(x)

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`."""
        del node
        return logistic(x)

    def magnitude(self, x: Array, y: Array, node: Activation) -> Array:
        """See `Smooth`. The sum is 1 and more."""
        del node
        return np.maximum(y, np.where(x < 1, np.minimum(8 * y, 0.5), 0.0))


class Elu(Smooth):
    """ELU."""

    kind = "ELU"
    ulps = 4.0
    steepest = (0.0,)

    def value(self, x: Array, node: Activation) -> Array:
        """ELU: x where x > 0, otherwise Param * (exp(x) - 1), with Param rounded to float32; shape unchanged.

        -inf gives -Param, +inf stays, NaN stays NaN. The difference may be that of a rounded exponential.
        """
        return np.asarray(np.where(x > 0, x, self.factor(node) * np.expm1(np.minimum(x, 0.0))))

    def derivative(self, x: Array, node: Activation) -> Array:
        """See `Smooth`. At 0 it is the larger of both."""
        factor = abs(self.factor(node))
        below = factor * np.exp(np.minimum(x, 0.0))
        return np.asarray(np.where(x > 0, 1.0, np.where(x == 0, max(1.0, factor), below)))

    def magnitude(self, x: Array, y: Array, node: Activation) -> Array:
        """See `Smooth`. The exponential is at most 1; what is above 0 stays as it is."""
        return np.where(x > 0, 0.0, np.abs(y) + np.where(x == 0, 0.0, abs(self.factor(node)) / 8))

    def exact(self, x: Array, y: Array, node: Activation) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """See `Function`."""
        del y, node
        return np.asarray(x >= 0)

    def factor(self, node: Activation) -> float:
        """The float32 nearest to Param."""
        return float(np.float32(node.param))
