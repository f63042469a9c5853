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

from nn512.graph.nodes import Conv, Pooling
from reference import fast
from reference.ops import Array, Mask, windows
from reference.variance import REACH

LARGEST = float(np.finfo(np.float32).max)
SAFE = LARGEST / 2
"""Bounds on partial sums up to here leave room for every rounding error."""


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
    largest_filter = max(float(finite_magnitude(row).sum()) for row in weights)
    return max(peak(x) * largest_filter + peak(biases), peak(weights))


def conv(x: Array, unspecified: Mask, weights: Array, biases: Array, node: Conv, bound: float) -> Mask:
    """Outputs that see an unspecified cell, may overflow (`bound`: the layer's sum_peak) or have broken parameters."""
    mask = _broken(weights, biases) | np.zeros_like(unspecified, shape=(1, 1, 1))
    if unspecified.any():
        mask = mask | fast.touched(unspecified, node)
    if bound > SAFE:
        magnitude = fast.conv(finite_magnitude(x), finite_magnitude(weights), finite_magnitude(biases), node)
        mask = mask | (magnitude > SAFE)
    return mask


def fully_connected(
    x: Array, unspecified: Mask, weights: npt.NDArray[np.floating], biases: Array, bound: float
) -> Mask:
    """As for `conv`; every output sees every cell."""
    mask = _broken(weights, biases)
    if unspecified.any():
        mask = np.ones_like(mask)
    if bound > SAFE:
        magnitude = fast.project(finite_magnitude(x), weights, finite_magnitude)
        mask = mask | (magnitude + finite_magnitude(biases)[:, np.newaxis, np.newaxis] > SAFE)
    return mask


def tiles(touched: Mask, tile: tuple[int, int]) -> Mask:
    """All outputs of the tiles that hold a True of `touched`, in every channel; tiles begin at row and column 0."""
    rows, columns = tile
    height, width = touched.shape[1:]
    hit = np.pad(touched.any(axis=0), ((0, -height % rows), (0, -width % columns)))
    blocks = hit.reshape(hit.shape[0] // rows, rows, -1, columns).any(axis=(1, 3))
    full = blocks.repeat(rows, axis=0).repeat(columns, axis=1)[:height, :width]
    return np.asarray(np.broadcast_to(full, touched.shape))


def batch_norm(unspecified: Mask, factor: Array, shift: Array, before: float) -> Mask:
    """Channels whose factor or shift float32 cannot hold or that may overflow; `before` is the peak of what is read."""
    usable = np.isfinite(factor) & np.isfinite(shift)
    fits = (np.abs(factor) <= SAFE) & (np.abs(factor) * before + np.abs(shift) <= SAFE)
    return unspecified | ~(usable & fits)


def add(
    x1: Array,
    x2: Array,
    unspecified: tuple[Mask, Mask],
    peaks: tuple[float, float],
    accumulated: tuple[float, float],
) -> Mask:
    """Elements with an unspecified summand or where the sum, or the accumulation behind a summand, may overflow.

    `peaks` bound the summands; `accumulated` are the same for those that are accumulations, into which the other
    summand may have been fused, and 0 for others.
    """
    mask = unspecified[0] | unspecified[1]
    if sum(peaks) > SAFE:
        magnitudes = finite_magnitude(x1), finite_magnitude(x2)
        largest = np.maximum(magnitudes[0] + accumulated[1], magnitudes[1] + accumulated[0])
        mask = mask | (np.maximum(largest, sum(magnitudes)) > SAFE)
    return mask


def pooling(x: Array, unspecified: Mask, node: Pooling) -> Mask:
    """Windows with an unspecified cell, and averages whose sum overflows."""
    mask = unspecified
    if not node.is_max:
        cells = x[0].size if node.window is None else node.window**2
        mask = mask | (finite_magnitude(x) > SAFE / cells)
    if node.window is None:
        return np.asarray(mask.any(axis=(1, 2), keepdims=True))
    margins = ((0, 0), (node.padding_h, node.padding_h), (node.padding_w, node.padding_w))
    return np.asarray(windows(np.pad(mask, margins), node).any(axis=(-2, -1)))


def softmax(unspecified: Mask) -> Mask:
    """Positions with an unspecified channel."""
    return np.broadcast_to(unspecified.any(axis=0), unspecified.shape)


def _broken(weights: npt.NDArray[np.floating], biases: Array) -> Mask:
    """Output channels (K x 1 x 1) with a parameter that is not finite."""
    finite = np.array([bool(np.isfinite(row).all()) for row in weights]) & np.isfinite(biases)
    return ~finite[:, np.newaxis, np.newaxis]
