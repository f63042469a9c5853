"""Functions that are made of pieces with few operations each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nn512.graph.nodes import Activation
from reference.functions.function import Function
from reference.roundoff import ROUNDING, TINY
from reference.windows import Array, Mask


class Relu(Function):
    """ReLU."""

    kind = "ReLU"

    def value(self, x: Array, node: Activation) -> Array:
        """ReLU: x where x > 0, otherwise Param * x, with Param rounded to float32; shape unchanged.

        NaN stays NaN. Param 0 means max(x, 0), so -inf gives 0 (the product would be NaN); any other slope is the
        product.
        """
        slope = self.negative_slope(node)
        return np.maximum(x, 0.0) if slope == 0 else np.where(x > 0, x, slope * x)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        slope = abs(self.negative_slope(node))
        return np.where(np.abs(x) <= reach, max(1.0, slope), np.where(x > 0, 1.0, slope))

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`. A slope other than 0, 1 and -1 adds the rounding of the product."""
        if abs(self.negative_slope(node)) in (0.0, 1.0):
            return 0.0
        return np.where(x > 0, 0.0, ROUNDING * np.square(y) + TINY**2)

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`."""
        del node
        return np.asarray((x >= 0) | (y.astype(np.float32) == y))

    def is_identity(self, node: Activation) -> bool:
        """See `Function`."""
        return self.negative_slope(node) == 1

    def negative_slope(self, node: Activation) -> float:
        """The slope for x <= 0: the float32 nearest to Param."""
        return float(np.float32(node.param))


class PRelu(Function):
    """PReLU. Its slopes come from `with_parameters`; before, all are 1/4, as random ones are on average."""

    kind = "PReLU"

    def __init__(self, slopes: Array | None = None) -> None:
        self._slopes = np.array([0.25]) if slopes is None else slopes

    def with_parameters(self, parameter: Callable[[str], Array]) -> PRelu:
        """See `Function`."""
        return PRelu(parameter("Slopes"))

    def value(self, x: Array, node: Activation) -> Array:
        """PReLU: x where x > 0, otherwise Slopes[c] * x in channel c; shape unchanged.

        NaN stays NaN. It is the product for any slope, so a slope of 0 makes -inf NaN.
        """
        del node
        return np.where(x > 0, x, self._below(x) * x)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        del node
        below = np.abs(self._below(x))
        return np.where(np.abs(x) <= reach, np.maximum(1.0, below), np.where(x > 0, 1.0, below))

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`. A slope other than 0, 1 and -1 adds the rounding of the product."""
        del node
        rounds = (x <= 0) & ~np.isin(np.abs(self._below(x)), (0.0, 1.0))
        return np.where(rounds, ROUNDING * np.square(y) + TINY**2, 0.0)

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`."""
        del node
        return np.asarray((x >= 0) | (y.astype(np.float32) == y))

    def unspecified(self, x: Array) -> Mask:
        """See `Function`. Channels whose slope is not finite."""
        return np.asarray(~np.isfinite(self._below(x)))

    def _below(self, x: Array) -> Array:
        return np.asarray(self._slopes.reshape(-1, *(1,) * (x.ndim - 1)))


class Clip(Function):
    """Clip."""

    kind = "Clip"

    def value(self, x: Array, node: Activation) -> Array:
        """Clip: x, but Min where x < Min, and Max where x > Max, both rounded to float32; shape unchanged.

        NaN stays NaN.
        """
        least, greatest = self.bounds(node)
        return np.minimum(np.maximum(x, least), greatest)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`."""
        least, greatest = self.bounds(node)
        return np.where((x + reach >= least) & (x - reach <= greatest), 1.0, 0.0)

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`. Nothing is rounded."""
        del x, y, node
        return 0.0

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`."""
        del y, node
        return np.ones(x.shape, np.bool_)

    def bounds(self, node: Activation) -> tuple[float, float]:
        """The float32 nearest to Min and Max, which may be the same one."""
        return float(np.float32(node.min)), float(np.float32(node.max))


class HardSwish(Function):
    """HardSwish."""

    kind = "HardSwish"

    def value(self, x: Array, node: Activation) -> Array:
        """HardSwish: x * min(max(x + 3, 0), 6) / 6; shape unchanged.

        That is 0 where x <= -3 and x where x >= 3, at any magnitude: nothing overflows, and -inf gives 0 (the product
        would be NaN). NaN stays NaN.
        """
        del node
        bounded = np.maximum(x, -3.0)
        return bounded * (np.minimum(bounded + 3.0, 6.0) / 6.0)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`. Between the kinks it is (2 x + 3) / 6, from -1/2 to 3/2: largest at an end."""
        del node
        low, high = x - reach, x + reach
        ends = [np.abs(2 * np.clip(end, -3.0, 3.0) + 3) / 6 for end in (low, high)]
        return np.where(high <= -3, 0.0, np.where(low >= 3, 1.0, np.maximum(*ends)))

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`.

        Three operations, and a sixth that may be a factor rounded before: 1/6 is off by half of 2^-24. The sum may be
        that of x / 6 and 1/2, as ONNX has it: then x / 6 is rounded, too, and is larger than the sum below -3/2.
        """
        del node
        addend = np.where(np.abs(x) < 3, np.square(x) / 6, 0.0)
        own = ROUNDING * (4 * np.square(y) + 2 * np.square(addend))
        return np.asarray(own + np.where(y == 0, 0.0, 2 * TINY**2))

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`. In any order, with the sixth as a divisor or a factor."""
        del node
        factor = np.minimum(np.maximum(x, -3.0) + 3.0, 6.0)
        results = (factor, x * factor, y)
        fit = np.logical_and.reduce([result.astype(np.float32) == result for result in results])
        return np.asarray(fit | (x <= -3))


class HardSigmoid(Function):
    """HardSigmoid."""

    kind = "HardSigmoid"

    def value(self, x: Array, node: Activation) -> Array:
        """HardSigmoid: min(max(Alpha * x + Beta, 0), 1), with Alpha and Beta rounded to float32; shape unchanged.

        Infinities give 0 and 1, since Alpha is positive. NaN stays NaN.
        """
        alpha, beta = self.line(node)
        return np.minimum(np.maximum(alpha * x + beta, 0.0), 1.0)

    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """See `Function`. Alpha, unless all within reach is clipped."""
        alpha, beta = self.line(node)
        return np.where((alpha * (x + reach) + beta >= 0) & (alpha * (x - reach) + beta <= 1), alpha, 0.0)

    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """See `Function`. Two operations, and an Alpha that may stand for x / 6 or the like."""
        del y
        alpha, beta = self.line(node)
        product = alpha * x
        total = product + beta
        rounded = ROUNDING * (2 * np.square(product) + np.square(total)) + 2 * TINY**2
        return np.where(self._clipped(product, beta), 0.0, rounded)

    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """See `Function`."""
        del y
        alpha, beta = self.line(node)
        product = alpha * x
        fit = np.logical_and.reduce([part.astype(np.float32) == part for part in (product, product + beta)])
        return np.asarray(fit | self._clipped(product, beta))

    def line(self, node: Activation) -> tuple[float, float]:
        """The float32 nearest to Alpha and Beta."""
        return float(np.float32(node.alpha)), float(np.float32(node.beta))

    def _clipped(self, product: Array, beta: float) -> Mask:
        """Where rounding cannot lead out of what is clipped."""
        room = 2.0**-20 * (np.abs(product) + abs(beta))
        return np.asarray((product + beta < -room) | (product + beta > 1 + room))
