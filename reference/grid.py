"""Float32 numbers of one binade are a grid: what a sum rounds its terms to."""

from __future__ import annotations

import numpy as np

from reference.windows import Array

CERTAIN = 5.0
"""Standard deviations that an error counts as which is certain not to pass a bound. All elements of an output may err
that much, and samples of what this makes of later layers are off by a few per cent, so it stays below the limit on the
rms of an output (see `fuzz.judge.limits`): with 6, one of 300 random nets had an rms of 6.07."""

BINADES = 4
"""Binades in which partial sums are rounded; the errors of lower ones are small beside those."""


FINEST = -149
"""Exponent of the distance of subnormal numbers, and so of zero and its neighbours."""


def grid_of(largest: Array) -> Array:
    """The distance of float32 numbers as large as `largest`, which is positive."""
    return np.asarray(np.exp2(np.maximum(np.floor(np.log2(largest)) - 23, FINEST)))


def certain_error(terms: Array) -> Array:
    """Bound on the error of the sums of `terms` over their last axis from roundings that are not independent.

    See `reference.residues`: the residues of the terms on the grids of the largest partial sum and of the binades below
    it are summed, and the largest sum is the bound.
    """
    largest = np.abs(np.cumsum(terms, axis=-1)).max(axis=-1, keepdims=True)
    usable = np.isfinite(largest) & (largest > 0)
    grid = grid_of(np.where(usable, largest, 1.0))
    bound = np.zeros(terms.shape[:-1])
    for level in range(BINADES):
        spacing = np.ldexp(grid, -level)
        bound = np.maximum(bound, np.abs((np.rint(terms / spacing) * spacing - terms).sum(axis=-1)))
    return np.where(usable[..., 0], bound, 0.0)
