"""Roundings that coincide: residues against float32 sums term by term, and what repeats in a tensor."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from nn512.graph import BatchNorm, Config, Conv, FullyConnected, Input, Output, Pooling, build
from reference import alike, grid, residues, shares
from reference.samples import Sampler
from reference.windows import Array, Window

F = np.float32

LIMIT, RMS = 12.0, 6.0
"""Those of `fuzz.judge.limits`."""


def rounded_sum(terms: Array, start: float = 0.0) -> float:
    """A float32 sum of exact products, as a chain of fused multiply-adds takes it."""
    total = start
    for term in terms.ravel().tolist():
        total = float(F(total + term))
    return total


def constant_net(kind: str, channels: int) -> tuple[reference.Result, float, float]:
    """What the reference says of one layer of weights 0.1 on inputs 1, what float32 gives, and one product."""
    layers: dict[str, Conv | FullyConnected] = {"conv": Conv("x", "y", 3, 1, 1), "full": FullyConnected("x", "y", 3)}
    graph = build([Config(), Input("x", channels, 1, 1), layers[kind], Output("y")])
    params = {p.name: np.full(p.shape, 0.1, F) for p in graph.parameters}
    result = reference.run(graph, params, {"x": np.ones((channels, 1, 1), F)})["y"]
    return result, rounded_sum(np.full(channels, float(F(0.1))), float(F(0.1))), float(F(0.1))


@pytest.mark.parametrize("kind", ["conv", "full"])
@pytest.mark.parametrize("channels", [64, 512, 2048, 4096])
def test_equal_terms_stay_within_the_limits_and_a_dropped_one_does_not(kind: str, channels: int) -> None:
    result, got, term = constant_net(kind, channels)
    sigma = np.sqrt(result.variance)
    assert (np.abs(got - result.value) < RMS * sigma).all()
    assert (np.abs(got - term - result.value) > LIMIT * sigma).all()


def test_without_residues_equal_terms_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residues, "conv", lambda *_: None)
    result, got, _ = constant_net("conv", 2048)
    assert (np.abs(got - result.value) > LIMIT * np.sqrt(result.variance)).all()


@pytest.mark.parametrize("noise", [0.0, 1e-7])
@pytest.mark.parametrize("number", [0.1, 0.3, 1.7])
@pytest.mark.parametrize("start", [0.0, 100.0])
def test_the_bound_holds_for_sums_of_any_length(noise: float, number: float, start: float) -> None:
    rng = np.random.default_rng(0)
    for terms in (100, 777, 5000):
        weights = (number + noise * rng.standard_normal((1, terms, 1, 1))).astype(F).astype(np.float64)
        climb = np.full((1, 1, 1), weights.sum())
        ways = [residues.Folded.plain(np.array([start]))]
        found = residues.conv(np.ones((terms, 1, 1)), weights, Window(1, 1), climb, ways, Sampler.of(0))
        assert found is not None
        error = rounded_sum(weights, start) - start - weights.sum()
        assert abs(error) <= found.bound[0, 0, 0] + terms**0.5 * 2.0**-24 * (start + climb[0, 0, 0])


def test_no_value_repeats_in_random_numbers() -> None:
    rng = np.random.default_rng(1)
    for terms in (100, 10_000):
        assert residues.repeats(rng.standard_normal((64, 9, 9)), terms) is None


def test_values_that_repeat_are_labelled_with_their_signs() -> None:
    x = np.array([0.5, -0.5, 0.0, 3.0, -3.0, 0.5, np.nan, np.inf]).reshape(8, 1, 1)
    found = residues.repeats(x, 100)
    assert found is not None
    values = np.sign(found.labels.ravel()) * np.append(0, found.values)[np.abs(found.labels.ravel()).astype(int)]
    assert values.tolist() == [0.5, -0.5, 0.0, 3.0, -3.0, 0.5, 0.0, 0.0]


def test_integers_have_no_residues() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-3, 4, (64, 5, 5)).astype(np.float64)
    weights = rng.integers(-3, 4, (4, 64, 3, 3)).astype(np.float64)
    ways = [residues.Folded.plain(np.zeros(4))]
    found = residues.conv(x, weights, Window(3, 3), np.full((4, 3, 3), 1e4), ways, Sampler.of(4))
    assert found is not None
    assert not found.bound.any()
    assert not found.errors.any()


def test_a_batch_norm_behind_may_make_tidy_products_untidy() -> None:
    """Products of 1/8 are added without an error, but not where a batch norm of factor 1/3 is folded into them."""
    channels = 3000
    graph = build(
        [Config(), Input("x", channels, 1, 1), Conv("x", "a", 1, 1, 1), BatchNorm("a", "y", 0.0), Output("y")]
    )
    params = {p.name: np.ones(p.shape, F) for p in graph.parameters}
    params["aWeights"][...] = 0.125
    params["aBiases"][...] = params["yMeans"][...] = params["yShifts"][...] = 0
    params["yScales"][...] = 1 / 3
    result = reference.run(graph, params, {"x": np.ones((channels, 1, 1), F)})["y"]
    folded = float(F(0.125 * float(F(1 / 3))))
    error = abs(rounded_sum(np.full(channels, folded)) - result.value[0, 0, 0])
    assert 0 < error < RMS * float(np.sqrt(result.variance[0, 0, 0]))


@pytest.mark.parametrize("size", [9, 40, 112])
def test_averages_of_equal_cells(size: int) -> None:
    graph = build([Config(), Input("x", 2, size, size), Pooling("x", "y", "AvgGlobal"), Output("y")])
    x = np.full((2, size, size), 0.1, F)
    result = reference.run(graph, {}, {"x": x})["y"]
    error = np.abs(rounded_sum(x[0].astype(np.float64)) / size**2 - result.value)
    assert (error < RMS * np.sqrt(result.variance)).all()


@pytest.mark.parametrize("channels", [300, 1000])
def test_equal_weights_stored_in_fp16_have_one_error(channels: int) -> None:
    graph = build([Config(), Input("x", channels, 1, 1), FullyConnected("x", "y", 2), Output("y")])
    params = {p.name: np.full(p.shape, 0.1, F) for p in graph.parameters}
    x = np.random.default_rng(3).uniform(0, 1, (channels, 1, 1)).astype(F)
    result = reference.run(graph, params, {"x": x}, rounding={"y": reference.HALF_WEIGHTS})["y"]
    stored = x.astype(np.float64).sum() * float(np.float16(0.1)) + float(F(0.1))
    assert (np.abs(stored - result.value) < RMS * np.sqrt(result.variance)).all()
    dropped = stored - float(x.max()) * float(np.float16(0.1))
    assert (np.abs(dropped - result.value) > LIMIT * np.sqrt(result.variance)).all()


def test_weights_are_stored_as_float16_stores_them() -> None:
    weights = np.random.default_rng(4).standard_normal(1000)
    np.testing.assert_array_equal(residues.stored(weights, reference.HALF_WEIGHTS), weights.astype(np.float16))


def test_equal_channels_of_different_pixels_are_a_crowd() -> None:
    """With all weights equal, all n products of a pixel count n times: N is the square of their number."""
    pixels = np.random.default_rng(5).standard_normal((1, 8, 8))
    x, weights = np.repeat(pixels, 256, axis=0), np.full((1, 256, 1, 1), 0.1)
    window, largest = Window(1, 1), np.ones((1, 8, 8))
    found = residues.crowd(x, weights, window, largest)
    assert found is not None
    assert found == pytest.approx((256 * 2.0**-24 / grid.CERTAIN) ** 2 / 3)
    assert residues.crowd(np.random.default_rng(6).standard_normal(x.shape), weights, window, largest) is None


def test_equal_numbers_have_equal_signs_and_opposite_ones_opposite() -> None:
    values = np.array([1.0, 1.0 + 1e-7, -1.0, 2.5, 0.0]).reshape(5, 1, 1)
    multipliers = np.random.default_rng(7).integers(0, 1 << 32, 64, np.uint32) | np.uint32(1)
    signs = alike.with_signs(np.ones((5, 1, 1)), values, multipliers)[:, :, 0, 0]
    assert np.array_equal(signs[0], signs[1])
    assert np.array_equal(signs[0], -signs[2])
    assert not np.array_equal(np.abs(signs[0] + signs[3]), np.zeros(64))
    assert set(np.unique(signs)) == {-1.0, 1.0}


def test_filters_of_few_weights_have_errors_in_common() -> None:
    """Two filters that differ in one tap of 64 share the other products; random ones share none."""
    rng = np.random.default_rng(8)
    x, multipliers = rng.standard_normal((64, 6, 6)), Sampler.of(16).multipliers
    weights = np.repeat(np.sort(rng.choice([0.1, 0.2, -0.3], (1, 64, 1, 1)), axis=1), 2, axis=0)
    weights[1, 5] = 0.2
    found = shares.conv(x, weights, Window(1, 1), multipliers)
    assert found is not None
    np.testing.assert_allclose(np.square(found).mean(axis=1), 1)
    assert (found[0] * found[1]).mean() > 0.9
    assert shares.conv(x, rng.standard_normal((2, 64, 1, 1)), Window(1, 1), multipliers) is None


def test_a_sample_does_not_see_the_same_pixels_of_every_channel() -> None:
    """Channels alike whose 35 pixels are not: a sample of every fifth cell would hold 7 values and call them all."""
    x = np.broadcast_to(np.random.default_rng(0).standard_normal((1, 5, 7)), (64, 5, 7))
    found = residues.repeats(x, 64)
    assert found is None or len(np.unique(x[found.labels == 0])) > 20
    ones = np.ones((8, 64, 1, 1))
    crowd = residues.crowd(x, ones, Window(1, 1), np.ones((8, 5, 7)))
    assert crowd is not None
