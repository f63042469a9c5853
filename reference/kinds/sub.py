"""Differences of two tensors."""

from __future__ import annotations

from nn512.graph.nodes import Sub
from reference.pairs import SumKind
from reference.windows import Array


def value(x1: Array, x2: Array) -> Array:
    """Element-wise difference of two tensors, which may be the same tensor: y = x1 - x2; y has the shape of x1.

    Extents of x2 that are 1 stand for all channels, rows or columns. inf - inf is NaN, and so is a difference with NaN.
    """
    return x1 - x2


class SubKind(SumKind[Sub]):
    """Sub: see `value`."""

    node = Sub
    sign = -1.0
