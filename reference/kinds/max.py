"""The larger of two tensors."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Max
from reference.extremes import ExtremeKind
from reference.windows import Array


def value(x1: Array, x2: Array) -> Array:
    """Element-wise maximum of two tensors, which may be the same tensor: y = max(x1, x2); y has the shape of x1.

    Extents of x2 that are 1 stand for all channels, rows or columns. NaN in either tensor makes it NaN.
    """
    return np.asarray(np.maximum(x1, x2))


class MaxKind(ExtremeKind[Max]):
    """Max: see `value`."""

    node = Max
    sign = 1.0

    def of(self, x1: Array, x2: Array) -> Array:
        """See `PairKind`."""
        return value(x1, x2)
