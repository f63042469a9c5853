"""Where nothing is promised: overflow of float32 on the way, parameters not finite, and what depends on such results.

A float32 evaluation may add the terms of a sum in any order, may fold batch normalization into the layer before it and
may take an average before a 1x1 convolution, so a result is unspecified as soon as the terms' absolute values sum to
more than float32 holds, even if the result itself would fit. `Peak` bounds keep this cheap: a scalar per tensor bounds
every partial sum behind it, and only where that bound passes half the range is anything computed per element.

Masks are True where the result is unspecified.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reference.accumulation import REACH
from reference.windows import Array, Mask

LARGEST = float(np.finfo(np.float32).max)
SAFE = LARGEST / 2
"""Bounds on partial sums up to here leave room for every rounding error."""

ROWS = 1 << 20
"""Weights that are looked at together: they may be 10^8 in all."""


def finite_magnitude(x: npt.NDArray[np.floating]) -> Array:
    """|x| in float64 with 0 for NaN and infinities: those follow IEEE and are no overflow."""
    return np.asarray(np.where(np.isfinite(x), np.abs(x), 0.0), dtype=np.float64)


def peak(x: npt.NDArray[np.floating]) -> float:
    """Largest finite |x|."""
    return float(finite_magnitude(x).max())


def out_of_range(value: Array, variance: Array) -> Mask:
    """Finite results that float32 may not hold."""
    return np.isfinite(value) & (np.abs(value) + REACH * np.sqrt(variance) > LARGEST)


def sum_peak(x: Array, weights: npt.NDArray[np.floating], biases: Array) -> float:
    """Bound on every partial sum, weight and bias of a convolution or fully connected layer."""
    rows = weights.reshape(len(weights), -1)
    some = max(1, ROWS // rows.shape[1])
    largest_filter = max(
        float(finite_magnitude(rows[k : k + some]).sum(axis=1).max()) for k in range(0, len(rows), some)
    )
    return max(peak(x) * largest_filter + peak(biases), peak(weights))


def broken(weights: npt.NDArray[np.floating], biases: Array) -> Mask:
    """Output channels (K x 1 x 1) with a parameter that is not finite."""
    finite = np.isfinite(weights).reshape(len(weights), -1).all(axis=1) & np.isfinite(biases)
    return np.asarray(~finite[:, np.newaxis, np.newaxis])
