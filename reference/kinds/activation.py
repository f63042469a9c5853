"""Element-wise functions: one object for each `Kind` of Activation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from nn512.graph.nodes import Activation
from reference import samples
from reference.accumulation import REACH
from reference.evaluation import NOTHING, Evaluation
from reference.exchange import Role
from reference.kinds.kind import Kind
from reference.roundoff import ROUNDING, TINY
from reference.stepping import Stepped, Stepping, step_of
from reference.tensor import Tensor
from reference.windows import Array, Mask


class Function(ABC):
    """One function of a number. A new one is a class like `Relu` and an entry in FUNCTIONS.

    kind: what the graph calls it.
    """

    kind: ClassVar[str]

    @abstractmethod
    def value(self, x: Array, node: Activation) -> Array:
        """The definition; its docstring is the specification."""

    @abstractmethod
    def slope(self, x: Array, reach: Array, node: Activation) -> Array:
        """The largest slope, in magnitude, from x - reach to x + reach: what an error so large may be multiplied by."""

    @abstractmethod
    def own(self, x: Array, y: Array, node: Activation) -> Array | float:
        """Variance of the roundings of the function itself."""

    @abstractmethod
    def exact(self, x: Array, y: Array, node: Activation) -> Mask:
        """Where y is a float32 that every evaluation gives, if x is one."""

    def is_identity(self, node: Activation) -> bool:
        """Whether the node computes nothing, so that it may be left out."""
        del node
        return False

    def variance(self, x: Array, before: Array, y: Array, node: Activation) -> Array:
        """Variance of the function: V times the squared slope, the largest within REACH sigma, plus its own roundings.

        Functions are continuous, so taking another branch at a kink costs no more than its slope times the error.
        """
        slope = self.slope(x, REACH * np.sqrt(before), node)
        return np.asarray(np.square(slope) * before + self.own(x, y, node))


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


FUNCTIONS: tuple[Function, ...] = (Relu(), Clip(), HardSwish())
"""All functions; a test finds what is missing."""

_BY_KIND = {function.kind: function for function in FUNCTIONS}


def value(x: Array, node: Activation) -> Array:
    """The function that `Kind` names, of every element; see its `value`."""
    return function_of(node).value(x, node)


def function_of(node: Activation) -> Function:
    """The function of a node."""
    return _BY_KIND[node.kind]


class ActivationKind(Kind[Activation]):
    """Activation: see `Function`."""

    node = Activation

    def definitions(self) -> Mapping[str, Callable[..., Array]]:
        """See `Kind`. One for each function."""
        return {f"Kind={function.kind}": function.value for function in FUNCTIONS}

    def evaluate(self, at: Evaluation[Activation]) -> Tensor:
        """See `Kind`."""
        (x,), layer = at.reads, at.layer
        function = function_of(layer)
        y = function.value(x.value, layer)
        errors = samples.difference(lambda moved: function.value(moved, layer), x.value, x.errors, y)
        derived = function.variance(x.value, x.derived, y, layer)
        own = function.variance(x.value, NOTHING, y, layer)
        return at.finish(y, derived, (errors, own), x.unspecified)

    def step(self, at: Stepping[Activation]) -> Stepped:
        """See `Kind`."""
        (x,), layer = at.reads, at.layer
        function = function_of(layer)
        y = function.value(x.value, layer)
        exact = x.exact & function.exact(x.value, y, layer)
        return Stepped.leaf(y, exact & (np.abs(y) <= np.ldexp(at.limit, step_of(y[exact]))))

    def role(self, layer: Activation) -> Role:
        """See `Kind`."""
        return Role.IDENTITY if function_of(layer).is_identity(layer) else Role.NONE
