"""Tiles of a row of pixels: every tap sees what it should, and rows of any length take no time."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import Conv, Shape
from nn512.plan.conv_geometry import Axis, has_blind_outputs, has_few_variants, pixel_tiles, real_taps, sees_picture

AXES = st.tuples(*(st.integers(1, most) for most in (40, 4, 3, 4)), st.integers(0, 9), st.integers(0, 9)).filter(
    lambda drawn: drawn[0] + drawn[4] + drawn[5] >= (drawn[1] - 1) * drawn[3] + 1
)


def axis_of(size: int, taps: int, stride: int, dilation: int, before: int, after: int) -> Axis:
    """The axis with as many outputs as there is room for."""
    room = size + before + after - (taps - 1) * dilation - 1
    return Axis(size, room // stride + 1, taps, stride, before, dilation)


def seen(axis: Axis, pixel: int) -> set[int]:
    """The taps that fall on real cells for an output pixel, one by one."""
    start = pixel * axis.stride - axis.before
    return {tap for tap in range(axis.taps) if 0 <= start + tap * axis.dilation < axis.size}


@given(AXES, st.integers(1, 14))
def test_tiles_see_what_their_pixels_see(drawn: tuple[int, int, int, int, int, int], limit: int) -> None:
    axis = axis_of(*drawn)
    pixel = 0
    for tile, times in pixel_tiles(axis, limit):
        assert tile.start == pixel
        assert 1 <= tile.size <= limit
        for _, within in itertools.product(range(times), range(tile.size)):
            taps = [tap for run in tile.runs if run.low <= within < run.high for tap in range(run.first, run.last)]
            assert sorted(taps) == sorted(seen(axis, pixel))
            assert sees_picture(axis, pixel) == bool(taps)
            pixel += 1
    assert pixel == axis.out
    taps_seen = [len(seen(axis, pixel)) for pixel in range(axis.out)]
    assert real_taps(axis) == sum(taps_seen)
    assert axis.is_padded == (sum(taps_seen) < axis.out * axis.taps or axis.before > 0)
    assert has_blind_outputs(axis) == (0 in taps_seen)


@given(AXES, st.integers(1, 14))
def test_neighbours_that_are_alike_are_together(drawn: tuple[int, int, int, int, int, int], limit: int) -> None:
    tiles = [(tile.size, tile.runs) for tile, _ in pixel_tiles(axis_of(*drawn), limit)]
    assert all(a != b for a, b in itertools.pairwise(tiles))


def test_a_row_of_any_length_is_a_few_tiles() -> None:
    axis = axis_of(2**31 - 1, 3, 1, 1, 1, 1)
    assert [times for _, times in pixel_tiles(axis, 14)] == [1, 153_391_676, 12, 1]


def test_wide_padding_is_not_looked_through() -> None:
    """A filter of 65,536 columns under as much padding has a kind of tile for every few pixels."""
    conv = Conv("x", "y", 1, filter_h=1, filter_w=65536, padding_w=65535)
    source, result = Shape(1, 1, 100_000), Shape(1, 1, 165_535)
    assert not has_few_variants(conv, source, result, 8)
    assert has_few_variants(
        Conv("x", "y", 1, filter_h=1, filter_w=3), Shape(1, 1, 2**31 - 1), Shape(1, 1, 2**31 - 3), 2
    )
