"""Products of two tensors."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Mul
from reference.accumulation import REACH
from reference.pairs import PairKind, together
from reference.roundoff import ROUNDING, TINY
from reference.tensor import Tensor
from reference.windows import Array, Mask


def value(x1: Array, x2: Array) -> Array:
    """Element-wise product of two tensors, which may be the same tensor: y = x1 * x2; y has the shape of x1.

    Extents of x2 that are 1 stand for all channels, rows or columns. 0 * inf is NaN, and so is a product with NaN. An
    infinity times a number whose sign rounding errors leave open is unspecified.
    """
    return x1 * x2


class MulKind(PairKind[Mul]):
    """Mul: see `value`."""

    node = Mul

    def of(self, x1: Array, x2: Array) -> Array:
        """See `PairKind`."""
        return value(x1, x2)

    def variance(self, x1: Array, x2: Array, before: tuple[Array, Array], *, correlated: bool) -> Array:
        """See `PairKind`. One rounding, and errors times the largest factor within REACH sigma, as of Square."""
        own = ROUNDING * np.square(value(x1, x2)) + TINY**2
        first, second = np.sqrt(before[0]), np.sqrt(before[1])
        met = np.abs(x1) + REACH * first, np.abs(x2) + REACH * second
        return together(met[1] * first, met[0] * second, correlated=correlated) + own

    def errors(self, x1: Array, x2: Array, errors: tuple[Array, Array], y: Array) -> Array:
        """See `PairKind`. Of first and second order, so that nothing is lost beside a large y."""
        del y
        first, second = errors
        return first * x2[:, np.newaxis] + (x1[:, np.newaxis] + first) * second

    def unspecified(self, x1: Tensor, x2: Tensor) -> Mask:
        """See `PairKind`."""
        open_ = [(x.result.variance > 0) & (np.abs(x.value) <= REACH * np.sqrt(x.result.variance)) for x in (x1, x2)]
        infinite = np.isinf(x1.value) & open_[1] | np.isinf(x2.value) & open_[0]
        return super().unspecified(x1, x2) | infinite
