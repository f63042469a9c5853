"""Quotients of two tensors."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Div
from reference.accumulation import REACH
from reference.pairs import PairKind, together
from reference.roundoff import ROUNDING, TINY
from reference.tensor import Tensor
from reference.windows import Array, Mask


def value(x1: Array, x2: Array) -> Array:
    """Element-wise quotient of two tensors, which may be the same tensor: y = x1 / x2; y has the shape of x1.

    Extents of x2 that are 1 stand for all channels, rows or columns. inf / inf is NaN, and so is a quotient with NaN;
    what is finite over an infinity is 0. What is no NaN over zero, or over a number whose sign rounding errors leave
    open, is unspecified: no zero promises its sign.
    """
    return x1 / x2


class DivKind(PairKind[Div]):
    """Div: see `value`."""

    node = Div

    def of(self, x1: Array, x2: Array) -> Array:
        """See `PairKind`."""
        return value(x1, x2)

    def variance(self, x1: Array, x2: Array, before: tuple[Array, Array], *, correlated: bool) -> Array:
        """See `PairKind`. One rounding, and errors of x1 and y x2 over the smallest divisor within REACH sigma."""
        y = value(x1, x2)
        first, second = np.sqrt(before[0]), np.sqrt(before[1])
        moved = together(first, np.abs(y) * second, correlated=correlated) / np.square(np.abs(x2) - REACH * second)
        return np.asarray(moved + ROUNDING * np.square(y) + TINY**2)

    def errors(self, x1: Array, x2: Array, errors: tuple[Array, Array], y: Array) -> Array:
        """See `PairKind`. As one quotient, so that nothing is lost beside a large y."""
        del x1
        first, second = errors
        return (first - y[:, np.newaxis] * second) / (x2[:, np.newaxis] + second)

    def unspecified(self, x1: Tensor, x2: Tensor) -> Mask:
        """See `PairKind`."""
        open_ = (np.abs(x2.value) <= REACH * np.sqrt(x2.result.variance)) & ~np.isnan(x1.value)
        return super().unspecified(x1, x2) | open_

    def exact(self, x1: Array, x2: Array, y: Array) -> Mask:
        """See `PairKind`. A quotient of float32 that float64 rounds to a float32 is that float32."""
        return np.asarray(super().exact(x1, x2, y) & (x2 != 0))
