"""The larger or the smaller of two tensors: what the two kinds have in common."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reference.accumulation import REACH
from reference.pairs import B, PairKind
from reference.windows import Array


class ExtremeKind(PairKind[B]):
    """The larger of x1 and x2 (`sign` is 1), or the smaller one (-1)."""

    sign: ClassVar[float]

    def variance(self, x1: Array, x2: Array, before: tuple[Array, Array], *, correlated: bool) -> Array:
        """See `PairKind`. The larger variance of those that can win within REACH sigma; nothing is rounded."""
        del correlated
        reach = REACH * np.sqrt(before[0]), REACH * np.sqrt(before[1])
        first, second = self.sign * x1, self.sign * x2
        floor = np.fmax(first - reach[0], second - reach[1])
        wins = first + reach[0] >= floor, second + reach[1] >= floor
        return np.maximum(np.where(wins[0], before[0], 0.0), np.where(wins[1], before[1], 0.0))
