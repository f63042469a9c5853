"""Errors that elements of a sum have in common, as they add up the same products though not all of them.

A rounding's error is a function of the product and the binade (see `reference.residues`). Where filters have few
different weights, as sorted or rounded ones do, the next filter multiplies most cells by the same weight, and so does
the same filter a pixel further: their sums share products, and so errors, in proportion, though no two results are
equal. A later sum over channels and pixels adds those up.

So samples of a layer's own errors are sums over products, too: of a random sign for each weight times one for each
cell, as `reference.alike` gives them to numbers, scaled to the variance that the layer has. Without this a chain of
1x1x35, ReLU and three 3x3 of sorted weights of five values erred 16.2 sigma; with it, 4.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reference import fast
from reference.alike import with_signs
from reference.lines import as_convolutions
from reference.residues import repeats, repetitive
from reference.windows import Array, Single, Window

Multipliers = npt.NDArray[np.uint32]

_OTHERS = np.uint32(0x9E3779B1)
"""An odd number: signs of cells are not those of equal weights."""


def conv(x: Array, weights: Array, window: Window, multipliers: Multipliers) -> Array | None:
    """Samples, K x S x OH x OW, of mean square 1 or all 0, with what outputs of a convolution have in common.

    None where weights do not repeat.
    """
    if not (len(multipliers) and repetitive(weights)):
        return None
    return _conv(_others(x, weights), weights, window, multipliers)


def fully_connected(x: Array, weights: npt.NDArray[np.floating], multipliers: Multipliers) -> Array | None:
    """The same of a fully connected layer."""
    if not (len(multipliers) and repetitive(weights)):
        return None
    x = _others(x, weights)
    return np.concatenate([_conv(x, block, window, multipliers) for block, window in as_convolutions(x, weights)])


def _others(x: Array, weights: npt.NDArray[np.floating]) -> Array:
    """Cells without those of few values: `residues` has what their products have in common."""
    found = repeats(x, weights[0].size)
    return x if found is None else np.where(found.labels == 0, x, 0.0)


def _conv(x: Array, weights: Array, window: Window, multipliers: Multipliers) -> Array:
    cells = _signs(x, multipliers * _OTHERS)
    taps = _signs(weights.reshape(len(weights), 1, -1), multipliers)
    found = fast.correlate_each(cells, taps.reshape(len(weights), len(multipliers), *weights.shape[1:]), window)
    size = np.sqrt(np.square(found).mean(axis=1, keepdims=True))
    return np.asarray(found / np.where(size > 0, size, 1.0))


def _signs(values: Array, multipliers: Multipliers) -> Single:
    """A sign for each number and multiplier, C x S x H x W; 0 for zeros and what is not finite."""
    sizes = (np.isfinite(values) & (values != 0)).astype(np.float64)
    return with_signs(sizes, values, multipliers)
