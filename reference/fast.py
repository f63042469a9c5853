"""The same numbers faster: convolution and fully connected layers as matrix products over bounded blocks.

The values of `reference.kinds` are the definitions; a property test holds the two together. Nothing here knows what the
operands stand for, so the variance (squares) and the bounds (absolute values) use these functions too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from reference.windows import Array, Mask, Window

BLOCK = 1 << 22
"""Elements of the largest temporary array (32 MiB of float64), as far as a single row of windows allows."""


def correlate(x: Array, weights: Array, window: Window) -> Array:
    """A convolution without biases: the windows of a few output rows at a time become the columns of a matrix.

    `weights` are K x C/G x FH x FW, so that there are as many groups as C divided by that. `x` may be C x S x H x W,
    which is S images of C x H x W; the result is then K x S x OH x OW.
    """
    images = math.prod(x.shape[1:-2])
    groups = len(x) // weights.shape[1]
    taps = window.taps(x.reshape(-1, *x.shape[-2:]))
    taps = taps.reshape(len(x), images, *taps.shape[1:])
    height, width = taps.shape[2:4]
    matrix = weights.reshape(groups, len(weights) // groups, -1)
    y = np.empty((*matrix.shape[:2], images, height, width))
    rows = max(1, BLOCK // max(1, taps[:, :, :1].size))
    for top in range(0, height, rows):
        block = taps[:, :, top : top + rows]
        pixels = math.prod(block.shape[1:4])
        columns = block.transpose(0, 4, 5, 1, 2, 3).reshape(groups, matrix.shape[2], pixels)
        y[:, :, :, top : top + rows] = (matrix @ columns).reshape(*matrix.shape[:2], *block.shape[1:4])
    return y.reshape(len(weights), *x.shape[1:-2], height, width)


def correlate_each(x: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], window: Window) -> Array:
    """S convolutions of signs at once: of images C x S x H x W, each with filters of its own, K x S x C/G x FH x FW.

    The operands are -1, 0 and 1, so that sums are whole numbers, which float32 holds to 2^24 and float64 beyond.
    """
    images = x.shape[1]
    kind = np.float32 if weights[0, 0].size <= 1 << 24 else np.float64
    groups = len(x) // weights.shape[2]
    taps = window.taps(x.reshape(-1, *x.shape[2:]))
    taps = taps.reshape(groups, -1, images, *taps.shape[1:])
    height, width = taps.shape[3:5]
    matrices = np.moveaxis(weights.reshape(groups, len(weights) // groups, images, -1), 2, 1).astype(kind, order="C")
    y = np.empty((*weights.shape[:2], height, width))
    by_group = y.reshape(groups, -1, images, height, width)
    rows = max(1, BLOCK // max(1, taps[:, :, :, :1].size))
    for top in range(0, height, rows):
        block = taps[:, :, :, top : top + rows]
        columns = block.transpose(0, 2, 1, 5, 6, 3, 4).reshape(groups, images, matrices.shape[3], -1)
        sums = matrices @ columns.astype(kind, copy=False)
        by_group[:, :, :, top : top + rows] = np.moveaxis(sums, 1, 2).reshape(*by_group.shape[:3], -1, width)
    return y


def project(x: Array, weights: npt.NDArray[np.floating], of: Callable[[Array], Array] = np.positive) -> Array:
    """of(weights) applied to the whole of `x`, K x 1 x 1: a fully connected layer without its biases.

    `weights` may stay float32: a block of rows at a time becomes float64, as the largest matrices have 10^8 elements.
    `x` may be C x S x H x W, which is S images of C x H x W; the result is then K x S x 1 x 1.
    """
    images = math.prod(x.shape[1:-2])
    matrix = weights.reshape(len(weights), -1)
    columns = np.moveaxis(x.reshape(len(x), images, *x.shape[-2:]), 1, -1).reshape(matrix.shape[1], images)
    rows = max(1, BLOCK // len(columns))
    parts = [of(matrix[k : k + rows].astype(np.float64)) @ columns for k in range(0, len(matrix), rows)]
    return np.concatenate(parts).reshape(len(weights), *x.shape[1:-2], 1, 1)


def touched(mask: Mask, filters: int, groups: int, window: Window) -> Mask:
    """Outputs (K x OH x OW) of a convolution with a cell of `mask` (C x H x W) under a tap, whatever the weight."""
    by_group = np.asarray(mask.reshape(groups, -1, *mask.shape[1:]).any(axis=1))
    hit = window.taps(by_group, fill=False).any(axis=(-2, -1))
    return np.repeat(hit, filters // groups, axis=0)
