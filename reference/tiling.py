"""The tiles of a convolution: which cells each of them sees, and where its results stand.

Tiles begin at the first row and column of the result. The last ones may overhang; what they see beyond the tensor and
its padding are zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from reference.tiles import Tiles
from reference.windows import Array, Mask, Window


@dataclass(frozen=True, slots=True)
class _Side:
    """The tiles along an axis, rows or columns.

    outputs: results of a tile. step, reach: cells from tile to tile, and those that one sees. phases: a tile is cut
    into so many interleaved parts, as the stride wants it, each a channel of its own. length: cells of a part. count:
    how many tiles. before: cells of padding. size: results of the layer.
    """

    outputs: int
    step: int
    reach: int
    phases: int
    length: int
    count: int
    before: int
    size: int

    @classmethod
    def of(cls, outputs: int, taps: int, stride: int, before: int, size: int, *, transformed: bool) -> _Side:
        reach = outputs * stride + taps - stride
        phases = stride if transformed else reach
        count = -(-size // outputs)
        return cls(outputs, outputs * stride, reach, phases, -(-reach // phases), count, before, size)

    def padded(self, cells: int, first: int, count: int) -> tuple[slice, tuple[int, int]]:
        """Of `cells`, those that tiles from `first` on see, and the cells of padding before and behind them."""
        start = first * self.step - self.before
        stop = start + (count - 1) * self.step + self.reach
        inside = slice(min(max(start, 0), cells), min(max(stop, 0), cells))
        before = min(max(-start, 0), stop - start)
        return inside, (before, stop - start - before - (inside.stop - inside.start))


@dataclass(frozen=True, slots=True)
class Grid:
    """The tiles of a layer."""

    rows: _Side
    columns: _Side

    @classmethod
    def of(cls, tiles: Tiles, window: Window, size: tuple[int, int]) -> Grid:
        """The grid of a layer with results of this size."""
        outputs, transformed = tiles.outputs, tiles.transformed
        return cls(
            _Side.of(outputs[0], window.height, window.stride_h, window.top, size[0], transformed=transformed[0]),
            _Side.of(outputs[1], window.width, window.stride_w, window.left, size[1], transformed=transformed[1]),
        )

    def seen(self, x: npt.NDArray[Any], first: int, count: int) -> npt.NDArray[Any]:
        """What `count` rows of tiles see of `x`, C x S x H x W: C x S x count x across x reach x reach, a view."""
        rows, before_and_behind = self.rows.padded(x.shape[2], first, count)
        columns, beside = self.columns.padded(x.shape[3], 0, self.columns.count)
        padded = np.pad(x[:, :, rows, columns], ((0, 0), (0, 0), before_and_behind, beside))
        windows = sliding_window_view(padded, (self.rows.reach, self.columns.reach), axis=(2, 3))
        return windows[:, :, :: self.rows.step, :: self.columns.step]

    def cells(self, x: Array, first: int, count: int) -> Array:
        """The same with phases as channels, as transforms take it: length x length x C phases x S x tiles."""
        seen = np.moveaxis(self.seen(x, first, count), (4, 5), (0, 1))
        split = _in_phases(seen, self.rows, self.columns, 1)
        return split.reshape(*split.shape[:2], -1, x.shape[1], count * self.columns.count)

    def filters(self, weights: Array) -> Array:
        """Weights, K x C x FH x FW, as transforms take them: taps x taps x K x C phases."""
        split = _in_phases(np.moveaxis(weights, (2, 3), (0, 1)), self.rows, self.columns, 2)
        return split.reshape(*split.shape[:2], len(weights), -1)

    def touched(self, mask: Mask, filters: int, groups: int) -> Mask:
        """Outputs, K x OH x OW, of tiles that see a cell of `mask`, C x H x W, in a channel of their group."""
        by_group = np.asarray(mask.reshape(groups, -1, *mask.shape[1:]).any(axis=1))
        hit: Mask = np.logical_or.reduce(self.seen(by_group[:, np.newaxis], 0, self.rows.count), axis=(-2, -1))
        full = hit[:, 0].repeat(self.rows.outputs, axis=1).repeat(self.columns.outputs, axis=2)
        return np.asarray(full[:, : self.rows.size, : self.columns.size].repeat(filters // groups, axis=0))

    def whole(self, parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Results of tiles, rows of outputs x K x S x tiles for some rows of tiles each, as a K x S x OH x OW."""
        rows, columns = self.rows, self.columns
        joined = np.concatenate([part.reshape(*part.shape[:-1], -1, columns.count) for part in parts], axis=-2)
        split = joined.reshape(rows.outputs, columns.outputs, *joined.shape[1:])
        moved = split.transpose(2, 3, 4, 0, 5, 1)
        image = moved.reshape(*moved.shape[:2], rows.count * rows.outputs, columns.count * columns.outputs)
        return image[:, :, : rows.size, : columns.size]


def _in_phases(array: npt.NDArray[Any], rows: _Side, columns: _Side, channels: int) -> npt.NDArray[Any]:
    """H x W x ... as parts of every so many rows and columns, zeros behind: phases stand after so many `channels`."""
    sides = (rows, columns)
    height, width = (-(-size // side.phases) for size, side in zip(array.shape[:2], sides, strict=True))
    missing = height * rows.phases - array.shape[0], width * columns.phases - array.shape[1]
    filled = np.pad(array, ((0, missing[0]), (0, missing[1]), *[(0, 0)] * (array.ndim - 2)))
    split = filled.reshape(height, rows.phases, width, columns.phases, *array.shape[2:])
    return np.moveaxis(split, (1, 3), (2 + channels, 3 + channels))
