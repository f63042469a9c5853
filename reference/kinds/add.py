"""Sums of two tensors."""

from __future__ import annotations

from nn512.graph.nodes import Add
from reference.pairs import SumKind
from reference.windows import Array


def value(x1: Array, x2: Array) -> Array:
    """Element-wise sum of two tensors, which may be the same tensor: y = x1 + x2; y has the shape of x1.

    Extents of x2 that are 1 stand for all channels, rows or columns. inf + -inf is NaN, and so is a sum with NaN.
    """
    return x1 + x2


class AddKind(SumKind[Add]):
    """Add: see `value`."""

    node = Add
