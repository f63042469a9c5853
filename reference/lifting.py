"""Weights that are multiplied by a power of two before they are stored as fp16: how large they and their sums become.

Weights that share a scale, those of an output channel (in tiles: at a position of the transform), are multiplied by the
power of two nearest 1 that brings the smallest of them to 2^-14, or the largest to 2^14 if that is less. Sums of their
products are multiplied by its inverse behind the accumulation: they may overflow where the result would not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from reference.accumulation import Affine
from reference.windows import Array

LARGEST = 2.0**15
"""Weights that are lifted stay below this."""

_ENOUGH = 2.0**-13
"""The smallest weight is lifted to less than this."""

NOISE = 2.0**-40
"""A weight that double precision computes from numbers this much larger may be anything as small as they make it."""


def stored(weights: npt.NDArray[np.floating], noise: Array | float = 0.0) -> Array:
    """Magnitudes that stored weights may have at most. Those along the last axis share a scale.

    noise: magnitudes at and below which a weight is not known, as it was computed; zeros where it was given.
    """
    magnitude = np.abs(weights)
    is_known = magnitude > noise
    smallest = np.where(is_known, magnitude, np.inf).min(axis=-1, keepdims=True)
    is_open = np.any(~is_known & (np.asarray(noise) > 0), axis=-1, keepdims=True)
    largest = magnitude.max(axis=-1, keepdims=True)
    most = LARGEST / np.where(largest > 0, largest, 1.0)
    lift = np.where(is_open, most, np.minimum(np.maximum(_ENOUGH / smallest, 1.0), most))
    return np.asarray(magnitude * lift)


def ways(
    x: Array, affine: Affine | None, weights: npt.NDArray[np.floating]
) -> Iterator[tuple[Array, npt.NDArray[np.floating]]]:
    """What may be multiplied: `x` with the weights, K x C/G x ..., or what a batch norm made it of with others.

    `affine` is given where the batch norm that made `x` may be folded into the weights.
    """
    yield x, weights
    if affine is not None:
        groups, channels = len(x) // weights.shape[1], weights.shape[1]
        factors = np.broadcast_to(np.asarray(affine.factor), (len(x), 1, 1)).reshape(groups, 1, channels, 1)
        by_group = weights.reshape(groups, -1, channels, weights[0, 0].size)
        yield affine.value, (by_group * factors).reshape(weights.shape)
