"""What the specification says of a function of one number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from nn512.graph.nodes import Activation
from reference.accumulation import REACH
from reference.windows import Array, Mask


class Function(ABC):
    """One function of a number. A new one is a class like `Relu` and an entry in `reference.functions`.

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

    def with_parameters(self, parameter: Callable[[str], Array]) -> Function:
        """The function with the parameters of a layer, by the ends of their names."""
        del parameter
        return self

    def unspecified(self, x: Array) -> Mask:
        """Where nothing is promised, for whatever reason parameters may give."""
        del x
        return np.zeros((1, 1, 1), np.bool_)

    def unsure(self, x: Array, reach: Array, node: Activation) -> Mask:
        """Where an error of up to `reach` may lead to where the function has no finite value, or from there."""
        del reach, node
        return np.zeros(x.shape, np.bool_)

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
