"""Data aimed at edges: single numbers at the borders of tiles, rows, columns and blocks of channels; all else is zero.

Every result then is a sum of few products, so that a wrong tap, lane or border changes it; and as numbers are small
integers, sums are exact and results are compared bit for bit wherever the algorithm allows it.
"""

from __future__ import annotations

import numpy as np

from fuzz.draw.kinds.base import Floats
from nn512.graph import Shape

EDGES = "edges"
"""Name of this kind of data, where the name of a regime stands."""

LANES = 16

_LARGEST = 64
"""Rows and columns of a tile are below this."""


def aimed_seed(number: int, rows: int, columns: int) -> int:
    """The seed of data set `number` for tiles of so many rows and columns of the input; 0 where there are no tiles."""
    return (number * _LARGEST + min(rows, _LARGEST - 1)) * _LARGEST + min(columns, _LARGEST - 1)


def aimed_input(shape: Shape, seed: int, rng: np.random.Generator) -> Floats:
    """One channel at the border of a block (the first, the last, those beside a border), by the number in the seed."""
    rest, columns = divmod(seed, _LARGEST)
    number, rows = divmod(rest, _LARGEST)
    channels = borders(shape.channels, LANES)
    at = np.ix_([channels[number % len(channels)]], borders(shape.height, rows), borders(shape.width, columns))
    x = np.zeros(shape, np.float32)
    x[at] = rng.integers(1, 4, x[at].shape) * rng.choice([-1, 1], x[at].shape)
    return x


def borders(extent: int, tile: int) -> list[int]:
    """The first and the last place, and those on both sides of every border of tiles: 0 where there are none."""
    inner = range(tile, extent, tile) if tile else ()
    places = {0, extent - 1, *inner, *(place - 1 for place in inner)}
    return sorted(places)


def channels_aimed_at(shape: Shape, most: int) -> int:
    """How many data sets meet every channel at a border of blocks, but `most` at most."""
    return min(most, len(borders(shape.channels, LANES)))
