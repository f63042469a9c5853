"""Data aimed at edges: where numbers are, and that sums of them are exact."""

from __future__ import annotations

import numpy as np
import pytest

from fuzz.draw.aimed import EDGES, aimed_input, aimed_seed, borders, channels_aimed_at
from fuzz.draw.regimes import draw
from nn512.errors import UsageError
from nn512.graph import Shape, parse

GRAPH = parse(
    "Config\nInput ToTensor=x Channels=18 Height=5 Width=30\n"
    "Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=3 FilterW=3\nOutput FromTensor=y\n"
)


@pytest.mark.parametrize(
    ("extent", "tile", "found"),
    [(1, 0, [0]), (9, 0, [0, 8]), (9, 4, [0, 3, 4, 7, 8]), (33, 16, [0, 15, 16, 31, 32]), (3, 1, [0, 1, 2])],
)
def test_borders(extent: int, tile: int, found: list[int]) -> None:
    assert borders(extent, tile) == found


def test_numbers_stand_at_borders_of_one_channel() -> None:
    shape = Shape(18, 5, 30)
    assert channels_aimed_at(shape, 9) == 4
    assert channels_aimed_at(shape, 2) == 2
    met = set()
    for number in range(4):
        x = aimed_input(shape, aimed_seed(number, 2, 14), np.random.default_rng(0))
        channels, rows, columns = (sorted(set(places)) for places in np.nonzero(x))
        met.update(channels)
        assert len(channels) == 1
        assert rows == [0, 1, 2, 3, 4]
        assert columns == [0, 13, 14, 27, 28, 29]
        assert np.abs(x).max() <= 3
    assert met == {0, 15, 16, 17}


def test_they_are_drawn_from_their_seed() -> None:
    seed = aimed_seed(1, 0, 14)
    one, other = draw(GRAPH, EDGES, seed), draw(GRAPH, EDGES, seed)
    np.testing.assert_array_equal(one.inputs["x"], other.inputs["x"])
    weights = one.params["yWeights"]
    np.testing.assert_array_equal(weights, other.params["yWeights"])
    assert (weights == np.rint(weights)).all()
    assert (weights != 0).all()
    with pytest.raises(UsageError, match="unknown data regime 'edge'"):
        draw(GRAPH, "edge", seed)
