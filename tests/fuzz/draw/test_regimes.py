"""Data regimes give what they promise: the same data every time, of the right shape, exact where they say so."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from fuzz.draw import regimes
from fuzz.draw.aimed import EDGES
from fuzz.draw.kinds import kind_of
from fuzz.draw.kinds.activation import FUNCTIONS
from fuzz.judge import algorithms
from nn512.algebra.cook_toom import cook_toom
from nn512.errors import UsageError
from nn512.graph import Activation, parse

NET = """
Config
Input ToTensor=x Channels=5 Height=9 Width=9
Conv FromTensor=x ToTensor=a ToChannels=18 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=a ToTensor=r Kind=ReLU
Conv FromTensor=r ToTensor=b ToChannels=18 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=3
BatchNorm FromTensor=b ToTensor=n Epsilon=0.75
Add FromTensor1=n FromTensor2=r ToTensor=s
Pooling FromTensor=s ToTensor=p Kind=Avg2x2Stride2
FullyConnected FromTensor=p ToTensor=f ToChannels=10
Output FromTensor=f
Output FromTensor=s
"""


@pytest.mark.parametrize("regime", regimes.REGIMES)
def test_same_seed_same_data_of_the_right_form(regime: str) -> None:
    graph = parse(NET)
    first, again, other = (regimes.draw(graph, regime, seed) for seed in (3, 3, 4))
    assert set(first.params) == {parameter.name for parameter in graph.parameters}
    for parameter in graph.parameters:
        array = first.params[parameter.name]
        assert array.shape == parameter.shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
        assert np.array_equal(array, again.params[parameter.name])
    assert (first.params["nVariances"] >= 0).all()
    assert first.inputs["x"].shape == (5, 9, 9)
    assert first.inputs["x"].dtype == np.float32
    assert first.inputs["x"].tobytes() == again.inputs["x"].tobytes()
    assert any(not np.array_equal(first.params[name], other.params[name]) for name in first.params)


@pytest.mark.parametrize("regime", sorted(regimes.EXACT_REGIMES - {"impulse", EDGES}))
@pytest.mark.parametrize("seed", range(5))
def test_exact_regimes_are_exact_through_the_layers(regime: str, seed: int) -> None:
    graph = parse(NET)
    data = regimes.draw(graph, regime, seed)
    exact = reference.exactness(graph, data.params, data.inputs)
    assert all(mask.all() for mask in exact.values())


def test_exact_data_are_not_mostly_zeros() -> None:
    graph = parse(NET)
    data = regimes.draw(graph, "exact", 0)
    values = reference.run(graph, data.params, data.inputs)["s"].value
    assert (values != 0).mean() > 0.5


def test_one_layer_takes_dense_integers() -> None:
    graph = parse(
        "Config Input ToTensor=x Channels=64 Height=5 Width=5 "
        "Conv FromTensor=x ToTensor=y ToChannels=9 FilterH=3 FilterW=3 Output FromTensor=y"
    )
    weights = regimes.draw(graph, "exact", 0).params["yWeights"]
    assert (weights != 0).all()


def test_an_impulse_is_one_element_and_the_response_the_filter() -> None:
    graph = parse(
        "Config Input ToTensor=x Channels=1 Height=5 Width=5 "
        "Conv FromTensor=x ToTensor=y ToChannels=2 FilterH=3 FilterW=3 PaddingH=2 PaddingW=2 Output FromTensor=y"
    )
    for seed in range(5):
        data = regimes.draw(graph, "impulse", seed)
        assert np.count_nonzero(data.inputs["x"]) == 1
        response = reference.run(graph, data.params, data.inputs)["y"].value
        weights = data.params["yWeights"]
        assert np.count_nonzero(response) == weights.size
        assert sorted(np.abs(response[response != 0])) == sorted(np.abs(weights.ravel()))


def test_positive_data_do_not_cancel_and_cancelling_data_do() -> None:
    graph = parse(
        "Config Input ToTensor=x Channels=40 Height=4 Width=4 "
        "Conv FromTensor=x ToTensor=y ToChannels=9 FilterH=3 FilterW=3 Output FromTensor=y"
    )
    ratios = {}
    for regime in ("positive", "cancelling"):
        data = regimes.draw(graph, regime, 1)
        params = {**data.params, "yBiases": np.zeros_like(data.params["yBiases"])}
        value = reference.run(graph, params, data.inputs)["y"].value
        magnitudes = {name: np.abs(array) for name, array in params.items()}
        terms = reference.run(graph, magnitudes, {"x": np.abs(data.inputs["x"])})["y"].value
        ratios[regime] = np.abs(value / terms).mean()
    assert ratios["positive"] == pytest.approx(1.0, abs=1e-6)
    assert ratios["cancelling"] < 0.01


def test_wide_data_span_many_decades_and_stay_finite() -> None:
    graph = parse(NET)
    scales = []
    for seed in range(20):
        data = regimes.draw(graph, "wide", seed)
        scales.append(np.log10(np.abs(data.inputs["x"]).max()))
        for result in reference.run(graph, data.params, data.inputs).values():
            assert np.isfinite(result.value).all()
            assert not result.unspecified.any()
    assert max(scales) - min(scales) > 6


@pytest.mark.parametrize("layer", [layer for sort in FUNCTIONS for layer in sort], ids=lambda layer: layer.kind)
@pytest.mark.parametrize("decade", [-45.0, -38.0, -6.0, 0.0, 0.5, 6.0, 38.5])
def test_every_function_of_data_of_any_decade_has_one(layer: Activation, decade: float) -> None:
    result = kind_of(layer).scale_wide(layer, {}, np.random.default_rng(0), decade)
    assert -45.0 <= result <= 38.6, "zero everywhere, and what overflows, counts as the ends of what a float holds"


def test_nonfinite_data_hold_a_few_nonfinite_inputs() -> None:
    graph = parse(NET)
    for seed in range(10):
        x = regimes.draw(graph, "nonfinite", seed).inputs["x"]
        assert 1 <= np.count_nonzero(~np.isfinite(x)) <= 3


def test_exact_data_at_both_ends_of_what_floats_hold() -> None:
    graph = parse(NET)
    least, most = (
        {name: np.abs(result.value) for name, result in reference.run(graph, data.params, data.inputs).items()}
        for data in (regimes.draw(graph, regime, 1) for regime in ("subnormal", "huge"))
    )
    assert all(((values > 0) & (values < 2.0**-126)).any() for values in least.values())
    assert all((values > 1e30).any() and np.isfinite(values).all() for values in most.values())


@pytest.mark.parametrize(("regime", "kinds"), [("nan", 1), ("infinite", 2)])
def test_many_values_of_one_kind_that_is_not_finite(regime: str, kinds: int) -> None:
    graph, seen = parse(NET), set()
    for seed in range(20):
        x = regimes.draw(graph, regime, seed).inputs["x"]
        found = x[~np.isfinite(x)]
        assert 1 <= found.size <= x.size // 4
        assert len({str(value) for value in found}) == 1
        seen.add(str(found[0]))
    assert len(seen) == kinds


def test_an_unknown_regime_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UsageError, match="gaussian"):
        regimes.draw(parse(NET), "uniform", 0)


@pytest.mark.parametrize(("outputs", "share"), [(2, 1.0), (3, 0.3), (4, 0.3), (5, 0.1)])
def test_exact_data_for_tiles(outputs: int, share: float) -> None:
    """F(2x2) is exact on all of them, larger tiles on as many as float32 has the bits for."""
    graph = parse(
        "Config Input ToTensor=x Channels=9 Height=9 Width=9 "
        "Conv FromTensor=x ToTensor=y ToChannels=9 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Output FromTensor=y"
    )
    transform = cook_toom(outputs, 3)
    rounding = {"y": reference.Rounding(tiles=algorithms.winograd(transform, transform))}
    exact = []
    for seed in range(20):
        data = regimes.draw(graph, "tiles", seed)
        exact.append(reference.exactness(graph, data.params, data.inputs, rounding=rounding)["y"].mean())
    assert np.mean(exact) >= share
