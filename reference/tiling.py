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
    how many tiles. before: cells of padding. size: results of the layer. piece: taps of a piece of the filter, if it is
    cut into several, each of which is a channel, too, and sees cells of its own; 0 if it is not.
    """

    outputs: int
    step: int
    reach: int
    phases: int
    length: int
    count: int
    before: int
    size: int
    piece: int = 0

    @classmethod
    def of(
        cls, outputs: int, taps: int, stride: int, before: int, size: int, *, transformed: bool, most: float
    ) -> _Side:
        reach = outputs * stride + taps - stride
        phases = stride if transformed else reach
        count = -(-size // outputs)
        if transformed and taps > stride * most:  # strides and pieces do not meet
            piece = int(most)
            pieces, length = -(-taps // piece), outputs + piece - 1
            return cls(outputs, outputs * stride, reach, pieces, length, count, before, size, piece)
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
        filters = (window.height, window.stride_h, window.top), (window.width, window.stride_w, window.left)
        parts = zip(tiles.outputs, filters, size, tiles.transformed, tiles.most_taps, strict=True)
        rows, columns = (
            _Side.of(outputs, *filter_, results, transformed=transformed, most=most)
            for outputs, filter_, results, transformed, most in parts
        )
        return cls(rows, columns)

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
        split = _in_phases(seen, self.rows, self.columns, 1, filters=False)
        return split.reshape(*split.shape[:2], -1, x.shape[1], count * self.columns.count)

    def filters(self, weights: Array) -> Array:
        """Weights, K x C x FH x FW, as transforms take them: taps x taps x K x C phases."""
        split = _in_phases(np.moveaxis(weights, (2, 3), (0, 1)), self.rows, self.columns, 2, filters=True)
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
        split = [part.reshape(*part.shape[:-1], part.shape[-1] // columns.count, columns.count) for part in parts]
        joined = np.concatenate(split, axis=-2)
        by_pixel = joined.reshape(rows.outputs, columns.outputs, *joined.shape[1:])
        moved = by_pixel.transpose(2, 3, 4, 0, 5, 1)
        image = moved.reshape(*moved.shape[:2], rows.count * rows.outputs, columns.count * columns.outputs)
        return image[:, :, : rows.size, : columns.size]


def _in_phases(
    array: npt.NDArray[Any], rows: _Side, columns: _Side, channels: int, *, filters: bool
) -> npt.NDArray[Any]:
    """H x W x ... as parts of `length` x `length`: those of rows and of columns stand after so many `channels`."""
    split = _parts(_parts(array, 0, rows, filters=filters), 2, columns, filters=filters)
    return np.moveaxis(split, (1, 3), (2 + channels, 3 + channels))


def _parts(array: npt.NDArray[Any], axis: int, side: _Side, *, filters: bool) -> npt.NDArray[Any]:
    """An axis as two: cells or taps of a part, and the parts, with zeros where there are too few.

    Parts are interleaved, or the pieces of a filter and what each of them sees: these cells overlap.
    """
    length = side.piece if side.piece and filters else -(-array.shape[axis] // side.phases)
    if side.piece and not filters:
        array = _filled(array, axis, (side.phases - 1) * side.piece + side.length)
        windows = sliding_window_view(array, side.length, axis=axis)
        starts = np.take(windows, np.arange(side.phases) * side.piece, axis=axis)
        return np.moveaxis(starts, -1, axis)
    array = _filled(array, axis, length * side.phases)
    shape = (side.phases, length) if side.piece else (length, side.phases)
    split = array.reshape(*array.shape[:axis], *shape, *array.shape[axis + 1 :])
    return np.swapaxes(split, axis, axis + 1) if side.piece else split


def _filled(array: npt.NDArray[Any], axis: int, size: int) -> npt.NDArray[Any]:
    """An axis with zeros behind, up to `size`."""
    missing = [(0, size - array.shape[axis] if number == axis else 0) for number in range(array.ndim)]
    return np.pad(array, missing)
