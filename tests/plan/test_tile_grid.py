"""Grids of tiles: how many overhang, and how that is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.plan.conv_geometry import Axis
from nn512.plan.tile_grid import GridAxis, TileGrid


def grid(height: int, width: int, rows: int, columns: int) -> TileGrid:
    """Tiles of results without padding, three taps along both axes."""
    down, across = (
        GridAxis(Axis(size + 2, size, 3, 1, 0, 1), outputs, outputs + 2)
        for size, outputs in ((height, rows), (width, columns))
    )
    return TileGrid(down, across)


SAID = {
    (30, 30, 4, 4): "64 tiles, 15 of them overhang by 2 rows or columns",
    (32, 32, 4, 4): "64 tiles",
    (31, 30, 4, 4): "64 tiles, 15 of them overhang by 1 row or 2 columns",
    (31, 32, 4, 4): "64 tiles, 8 of them overhang by 1 row",
    (32, 31, 4, 4): "64 tiles, 8 of them overhang by 1 column",
    (7, 4, 4, 4): "2 tiles, 1 of them overhangs by 1 row",
    (2, 7, 4, 4): "2 tiles, all of them overhang by 2 rows or 1 column",
    (7, 7, 2, 4): "8 tiles, 5 of them overhang by 1 row or column",
    (3, 3, 4, 4): "1 tile, which overhangs by 1 row and column",
    (2, 3, 4, 4): "1 tile, which overhangs by 2 rows and 1 column",
    (1, 3, 1, 4): "1 tile, which overhangs by 1 column",
    (4, 4, 4, 4): "1 tile",
    (126, 126, 4, 4): "1,024 tiles, 63 of them overhang by 2 rows or columns",
}


@pytest.mark.parametrize(("sizes", "said"), SAID.items())
def test_words(sizes: tuple[int, int, int, int], said: str) -> None:
    assert grid(*sizes).words == said


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5))
def test_every_tile_that_overhangs_counts_once(height: int, width: int, rows: int, columns: int) -> None:
    over = [
        (y, x)
        for y in range(0, height, rows)
        for x in range(0, width, columns)
        if y + rows > height or x + columns > width
    ]
    assert grid(height, width, rows, columns).overhanging == len(over)
    assert grid(height, width, rows, columns).ragged == bool(over)
