"""The errors of convolutions that are computed tile by tile: what transforms do to errors of what they read."""

from __future__ import annotations

import numpy as np
import pytest

from fuzz.judge.algorithms import winograd
from nn512.algebra.cook_toom import cook_toom
from reference import Fourier, Rounding, Tiles
from reference.residues import Folded
from reference.roundoff import U
from reference.samples import Sampler
from reference.tiled import own_errors
from reference.windows import Array, Window

AXIS = cook_toom(4, 3)
ALGORITHMS = {"winograd": winograd(AXIS, AXIS), "fourier": Fourier((6, 6), (8, 8)), "row": Fourier((1, 6), (1, 8))}


@pytest.fixture(params=ALGORITHMS)
def tiles(request: pytest.FixtureRequest) -> Tiles:
    return ALGORITHMS[request.param]


def test_independent_errors_are_transformed(tiles: Tiles) -> None:
    rng = np.random.default_rng(0)
    cells = [outputs + 2 if is_transformed else 1 for outputs, is_transformed in zip(*_sides(tiles), strict=True)]
    variance = np.exp(rng.uniform(-4, 4, (*cells, 3)))
    drawn = rng.standard_normal((4000, *cells, 3)) * np.sqrt(variance)
    found = np.square(np.stack([tiles.inputs(errors) for errors in drawn])).mean(axis=0)
    ratio = found / tiles.response(variance)
    assert found.shape == tiles.response(variance).shape
    assert ratio.max() < 1.2  # of 4000: 1 within 0.1
    if not isinstance(tiles, Fourier):
        assert ratio.min() > 0.8


def _sides(tiles: Tiles) -> tuple[tuple[int, int], tuple[bool, bool]]:
    return tiles.outputs, tiles.transformed


def test_errors_that_no_sample_shows_make_noise(tiles: Tiles) -> None:
    """Behind a kink: cells of a tile are 0 in the reference and in all samples, but one of them has a variance."""
    taps = tuple(3 if is_transformed else 1 for is_transformed in tiles.transformed)
    x, weights, one = np.zeros((1, 8, 8)), np.ones((1, 1, *taps)), np.ones(1)
    size = 9 - taps[0], 9 - taps[1]
    unseen = np.zeros((1, 8, 8))
    unseen[0, 0, 1] = 1e-14**2
    sampler, ways = Sampler.of(16), [Folded(one, np.zeros(1))]

    def variance(of: Array) -> float:
        own = own_errors(
            x, sampler.none(x.shape), of, weights, Window(*taps), size, Rounding(tiles=tiles), sampler, ways
        )
        return float(own.variance[0, 0, 2])  # a result in the same tile that does not see the cell

    assert np.sqrt(variance(unseen)) > 0.05 * U * 1e-14
    assert np.sqrt(variance(np.zeros_like(x))) < 1e-40
