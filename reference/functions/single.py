"""Functions of one operation: choices of a sign, and roundings to the nearest float32."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Activation
from reference.functions.function import Function
from reference.roundoff import ROUNDING, TINY
from reference.windows import Array, Mask


class _Exact(Function):
    """A function that rounds nothing and has slopes of 1."""

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        del reach, node
        return np.ones_like(x)

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`."""
        del x, y, node
        return 0.0

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`."""
        del y, node
        return np.ones(x.shape, np.bool_)


class Abs(_Exact):
    """Abs."""

    kind = "Abs"

    def value(self, x: Array, node: Activation) -> Array:
        """Abs: x where x > 0, otherwise -x; shape unchanged. NaN stays NaN."""
        del node
        return np.abs(x)


class Neg(_Exact):
    """Neg."""

    kind = "Neg"

    def value(self, x: Array, node: Activation) -> Array:
        """Neg: -x; shape unchanged. NaN stays NaN."""
        del node
        return -x


class _Rounded(Function):
    """A function whose result is rounded once."""

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`."""
        del x, node
        return np.asarray(ROUNDING * np.square(y) + TINY**2)

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`."""
        del x, node
        return np.asarray(np.isfinite(y) & (y.astype(np.float32) == y))


class Square(_Rounded):
    """Square."""

    kind = "Square"

    def value(self, x: Array, node: Activation) -> Array:
        """Square: x * x; shape unchanged. NaN stays NaN."""
        del node
        return np.square(x)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        del node
        return np.asarray(2 * (np.abs(x) + reach))


class Sqrt(_Rounded):
    """Sqrt."""

    kind = "Sqrt"

    def value(self, x: Array, node: Activation) -> Array:
        """Sqrt: the square root of x; shape unchanged. Of numbers below 0 it is NaN, and NaN stays NaN."""
        del node
        return np.sqrt(x)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        del node
        return np.asarray(0.5 / np.sqrt(np.maximum(x - reach, 0.0)))

    def unsure(self, x: Array, reach: Array, node: Activation) -> Mask:
        """See `Function`. An error may lead below 0."""
        del node
        return np.asarray((reach > 0) & (np.abs(x) <= reach))


class Reciprocal(_Rounded):
    """Reciprocal."""

    kind = "Reciprocal"

    def value(self, x: Array, node: Activation) -> Array:
        """Reciprocal: 1 / x; shape unchanged.

        Zeros give infinities of their sign, infinities zeros, NaN stays NaN.
        """
        del node
        return 1.0 / x

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        del node
        return np.asarray(1.0 / np.square(np.maximum(np.abs(x) - reach, 0.0)))

    def unsure(self, x: Array, reach: Array, node: Activation) -> Mask:
        """See `Function`. An error may lead across the pole."""
        del node
        return np.asarray((reach > 0) & (np.abs(x) <= reach))
