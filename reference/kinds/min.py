"""The smaller of two tensors."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Min
from reference.extremes import ExtremeKind
from reference.windows import Array


def value(x1: Array, x2: Array) -> Array:
    """Element-wise minimum of two tensors, which may be the same tensor: y = min(x1, x2); y has the shape of x1.

    Extents of x2 that are 1 stand for all channels, rows or columns. NaN in either tensor makes it NaN.
    """
    return np.asarray(np.minimum(x1, x2))


class MinKind(ExtremeKind[Min]):
    """Min: see `value`."""

    node = Min
    sign = -1.0

    def of(self, x1: Array, x2: Array) -> Array:
        """See `PairKind`."""
        return value(x1, x2)
