"""The geometry of a convolution: its two axes, tiles of output pixels, and which filter taps see which of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nn512.graph.nodes import Conv, Shape

TILE_PIXELS = 14


class Run(NamedTuple):
    """Filter columns first to last-1, which all see pixels low to high-1 of a tile inside the picture."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution."""

    size: int
    out: int
    taps: int
    stride: int
    padding: int
    dilation: int


def axes(node: Conv, source: Shape, result: Shape, zeros: tuple[int, int] = (0, 0)) -> tuple[Axis, Axis]:
    """Rows and columns of a convolution; a pointwise one becomes a single row.

    `source` has so many rows and columns of `zeros` around it already.
    """
    rows, columns = zeros
    node = dataclasses.replace(node, padding_h=node.padding_h - rows, padding_w=node.padding_w - columns)
    taps_and_strides = (node.filter_h, node.filter_w, node.stride_h, node.stride_w)
    if taps_and_strides == (1, 1, 1, 1) and not (node.padding_h or node.padding_w):
        return Axis(1, 1, 1, 1, 0, 1), Axis(source.pixels, result.pixels, 1, 1, 0, 1)
    down = Axis(source.height, result.height, node.filter_h, node.stride_h, node.padding_h, node.dilation_h)
    across = Axis(source.width, result.width, node.filter_w, node.stride_w, node.padding_w, node.dilation_w)
    return down, across


class PixelTile(NamedTuple):
    """Output pixels start to start+size-1 of a row, and which filter columns see which of them."""

    start: int
    size: int
    runs: tuple[Run, ...]


def pixel_tiles(axis: Axis, limit: int) -> tuple[PixelTile, ...]:
    """A row split as evenly as it goes into tiles of at most `limit` pixels."""
    count = -(-axis.out // limit)
    size, longer = divmod(axis.out, count)
    starts = [i * size + min(i, longer) for i in range(count + 1)]
    return tuple(
        PixelTile(start, end - start, _runs(axis, start, end - start)) for start, end in itertools.pairwise(starts)
    )


def _runs(axis: Axis, start: int, size: int) -> tuple[Run, ...]:
    if not axis.padding:
        return (Run(0, axis.taps, 0, size),)
    runs: list[Run] = []
    first = start * axis.stride - axis.padding  # column under tap 0 for the first pixel, and for the last one
    last = first + (size - 1) * axis.stride
    begin = max(0, -(last // axis.dilation))
    end = min(axis.taps, -((first - axis.size) // axis.dilation))
    for tap in range(begin, end):
        origin = first + tap * axis.dilation
        low = min(size, max(0, -(origin // axis.stride)))
        high = min(size, max(0, -((origin - axis.size) // axis.stride)))
        if low >= high:
            continue
        if runs and (runs[-1].low, runs[-1].high, runs[-1].last) == (low, high, tap):
            runs[-1] = runs[-1]._replace(last=tap + 1)
        else:
            runs.append(Run(tap, tap + 1, low, high))
    return tuple(runs)


def real_taps(axis: Axis) -> int:
    """Taps that fall on real cells, summed over all output positions of an axis."""
    if not axis.padding:
        return axis.out * axis.taps
    total = 0
    for tap in range(axis.taps):
        origin = tap * axis.dilation - axis.padding
        low = max(0, -(origin // axis.stride))
        high = min(axis.out, max(0, -((origin - axis.size) // axis.stride)))
        total += max(0, high - low)
    return total


def edge_variants(node: Conv, source: Shape, result: Shape) -> int | None:
    """How many different kinds of tiles a row has; None where one of them sees nothing but padding."""
    _, columns = axes(node, source, result)
    tiles = pixel_tiles(columns, TILE_PIXELS)
    if not all(tile.runs for tile in tiles):
        return None
    return len({(tile.size, tile.runs) for tile in tiles})


class Repeat(NamedTuple):
    """Neighbouring tiles that are computed alike: the first of them, and how many."""

    tile: PixelTile
    times: int


def size_and_runs(tile: PixelTile) -> Hashable:
    """What the code of a tile depends on."""
    return tile.size, tile.runs


def repeats(tiles: Sequence[PixelTile], key: Callable[[PixelTile], Hashable] = size_and_runs) -> tuple[Repeat, ...]:
    """Runs of neighbouring tiles that are computed alike: those with the same `key`."""
    groups = (tuple(group) for _, group in itertools.groupby(tiles, key))
    return tuple(Repeat(group[0], len(group)) for group in groups)
