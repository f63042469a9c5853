"""The geometry of a convolution: its two axes, tiles of output pixels, and which filter taps see which of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from nn512.graph.nodes import Conv, Shape
from nn512.graph.windows import NO_SIDES, Sides, padding_of

TILE_PIXELS = 14


class Run(NamedTuple):
    """Filter columns first to last-1, which all see pixels low to high-1 of a tile inside the picture."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution: cells, results, and the filter, which begins `before` the first cell."""

    size: int
    out: int
    taps: int
    stride: int
    before: int
    dilation: int

    @property
    def starts_outside(self) -> bool:
        """Whether some tap of some result falls on padding in front of the cells."""
        return self.before > 0

    @property
    def ends_outside(self) -> bool:
        """Whether some tap of some result falls on padding behind the cells."""
        return (self.out - 1) * self.stride - self.before + (self.taps - 1) * self.dilation >= self.size

    @property
    def is_padded(self) -> bool:
        """Whether either does."""
        return self.starts_outside or self.ends_outside


def axes(node: Conv, source: Shape, result: Shape, zeros: Sides = NO_SIDES) -> tuple[Axis, Axis]:
    """Rows and columns of a convolution; a pointwise one becomes a single row.

    `source` has `zeros` around it already.
    """
    padding = Sides(*(wanted - there for wanted, there in zip(padding_of(node), zeros, strict=True)))
    taps_and_strides = (node.filter_h, node.filter_w, node.stride_h, node.stride_w)
    if taps_and_strides == (1, 1, 1, 1) and not any(padding):
        return Axis(1, 1, 1, 1, 0, 1), Axis(source.pixels, result.pixels, 1, 1, 0, 1)
    down = Axis(source.height, result.height, node.filter_h, node.stride_h, padding.top, node.dilation_h)
    across = Axis(source.width, result.width, node.filter_w, node.stride_w, padding.left, node.dilation_w)
    return down, across


class PixelTile(NamedTuple):
    """Output pixels start to start+size-1 of a row, and which filter columns see which of them."""

    start: int
    size: int
    runs: tuple[Run, ...]


class Repeat(NamedTuple):
    """Neighbouring tiles that are computed alike: the first of them, and how many."""

    tile: PixelTile
    times: int


def pixel_tiles(axis: Axis, limit: int) -> Iterator[Repeat]:
    """A row split as evenly as it goes into tiles of at most `limit` pixels, neighbours that are alike together."""
    return repeats(row_tiles(axis, limit))


def row_tiles(axis: Axis, limit: int) -> Iterator[Repeat]:
    """The same with those at the edges one by one; those inside the picture are not: there may be any number."""
    count = -(-axis.out // limit)
    size, longer = divmod(axis.out, count)
    for first, last, pixels, extra in ((0, longer, size + 1, 0), (longer, count, size, longer)):
        step, before = pixels * axis.stride, axis.before - extra * axis.stride
        low = min(last, max(first, -(-before // step)))  # the first tile that begins inside the picture
        high = max(low, min(last, (axis.size - span_of(axis, pixels) + before) // step + 1))
        yield from (Repeat(_tile(axis, number * pixels + extra, pixels), 1) for number in range(first, low))
        if low < high:
            yield Repeat(_tile(axis, low * pixels + extra, pixels), high - low)
        yield from (Repeat(_tile(axis, number * pixels + extra, pixels), 1) for number in range(high, last))


def _tile(axis: Axis, start: int, size: int) -> PixelTile:
    return PixelTile(start, size, _runs(axis, start, size))


def span_of(axis: Axis, pixels: int) -> int:
    """Columns from the one under the first tap of a tile's first pixel to the one under the last tap of its last."""
    return (pixels - 1) * axis.stride + (axis.taps - 1) * axis.dilation + 1


def _runs(axis: Axis, start: int, size: int) -> tuple[Run, ...]:
    first = start * axis.stride - axis.before  # column under tap 0 for the first pixel, and for the last one
    last = first + (size - 1) * axis.stride
    if first >= 0 and first + span_of(axis, size) <= axis.size:
        return (Run(0, axis.taps, 0, size),)
    runs: list[Run] = []
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
    if not axis.is_padded:
        return axis.out * axis.taps
    total = 0
    for tap in range(axis.taps):
        origin = tap * axis.dilation - axis.before
        low = max(0, -(origin // axis.stride))
        high = min(axis.out, max(0, -((origin - axis.size) // axis.stride)))
        total += max(0, high - low)
    return total


def has_few_variants(node: Conv, source: Shape, result: Shape, most: int) -> bool:
    """Whether a row has at most so many kinds of tiles, of which none sees nothing but padding."""
    _, columns = axes(node, source, result)
    kinds: set[Hashable] = set()
    for tile, _ in pixel_tiles(columns, TILE_PIXELS):
        kinds.add(size_and_runs(tile))
        if not tile.runs or len(kinds) > most:
            return False
    return True


def sees_picture(axis: Axis, pixel: int) -> bool:
    """Whether some tap falls on a real cell for an output pixel."""
    first = pixel * axis.stride - axis.before
    tap = max(0, -(first // axis.dilation))
    return tap < axis.taps and first + tap * axis.dilation < axis.size


def has_blind_outputs(axis: Axis) -> bool:
    """Whether there are output positions for which every tap falls on padding."""
    edge = -(-axis.before // axis.stride)  # windows behind it do not begin before the picture
    return not all(sees_picture(axis, position) for position in (*range(min(edge, axis.out)), axis.out - 1))


def size_and_runs(tile: PixelTile) -> Hashable:
    """What the code of a tile depends on."""
    return tile.size, tile.runs


def repeats(tiles: Iterable[Repeat], key: Callable[[PixelTile], Hashable] = size_and_runs) -> Iterator[Repeat]:
    """Runs of neighbouring tiles that are computed alike: those with the same `key`."""
    for _, group in itertools.groupby(tiles, lambda repeat: key(repeat.tile)):
        alike = list(group)
        yield Repeat(alike[0].tile, sum(repeat.times for repeat in alike))
