"""What float32 sums err by in one order, by doing them.

Where terms repeat, every addition of an equal term to a sum of one binade errs by the same (see `reference.residues`),
so that other orders err by much the same. Sums that layers behind make of such errors add up what they have in common,
which no random signs tell: behind a layer 3x3x80 of three different weights and equal inputs, whose outputs all err to
one side, a layer of 117 products erred by 8.6 sigma without this, and errs by 1.8; behind nine layers the largest
error of a thousand elements was 10.9 sigma, and is 3.6. Only layers behind are told: for the sums themselves the bound
is enough, and a tap that is missing shall not be taken for such an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reference import fast
from reference.lines import as_convolutions
from reference.residues import Folded
from reference.windows import Array, Window

MOST = 1 << 28
"""Additions of a layer that are done: two seconds. Larger ones are told nothing."""


def conv(x: Array, weights: Array, window: Window, ways: Sequence[Folded]) -> Array | None:
    """The errors of a convolution whose terms are added one by one, K x OH x OW: the largest of the ways, signed.

    None where that takes too long.
    """
    size = window.result_size(x)
    if len(ways) * weights.size * size[0] * size[1] > MOST:
        return None
    groups, x = len(x) // weights.shape[1], np.where(np.isfinite(x), x, 0.0)
    taps = np.moveaxis(window.taps(x).reshape(groups, -1, *size, window.height, window.width), (4, 5), (2, 3))
    taps = taps.reshape(groups, -1, 1, *size)
    exact = fast.correlate(x, weights, window)
    worst = np.zeros_like(exact)
    for way in ways:
        factor = np.where(way.factor == 0, 1.0, way.factor).reshape(-1, 1, 1, 1)
        by_term = (weights * factor).astype(np.float32).astype(np.float64)
        by_term = by_term.reshape(groups, len(weights) // groups, -1, 1, 1)
        start = way.start.astype(np.float32)
        total = np.broadcast_to(start.reshape(groups, -1, 1, 1), (*by_term.shape[:2], *size))
        for term in range(taps.shape[1]):
            total = (total + by_term[:, :, term] * taps[:, term]).astype(np.float32)
        right = exact * factor[:, 0] + start.astype(np.float64)[:, np.newaxis, np.newaxis]
        error = (total.reshape(exact.shape) - right) / factor[:, 0]
        np.copyto(worst, error, where=np.isfinite(error) & (np.abs(error) > np.abs(worst)))
    return worst


def fully_connected(x: Array, weights: npt.NDArray[np.floating], ways: Sequence[Folded]) -> Array | None:
    """The same of a fully connected layer."""
    parts, first = [], 0
    for block, window in as_convolutions(x, weights):
        rows = slice(first, first + len(block))
        parts.append(conv(x, block, window, [way.of(rows) for way in ways]))
        first += len(block)
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if len(found) == len(parts) else None
