"""Averages before or after 1x1 convolutions: variance, range and exactness are those of both orders."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from nn512.graph import (
    Activation,
    BatchNorm,
    Conv,
    FullyConnected,
    Graph,
    Node,
    Pooling,
)
from reference.walk import before_averages
from tests.reference import single as float32

Single: TypeAlias = npt.NDArray[np.float32]

F = np.float32

LIMIT = 8.0


def net(*nodes: Node, channels: int, size: int = 6) -> Graph:
    graph: Graph = float32.net(*nodes, channels=channels, size=size)
    return graph


# For every case the graph of the specification and the order in which it is evaluated; parameters have the same names.
ORDERS: dict[str, tuple[list[Node], list[Node]]] = {
    "alone": (
        [Conv("x", "c", 24, 1, 1), Pooling("c", "y", "Avg2x2Stride2")],
        [Pooling("x", "p", "Avg2x2Stride2"), Conv("p", "c", 24, 1, 1)],
    ),
    "overlapping": (
        [Conv("x", "c", 24, 1, 1), Pooling("c", "y", "Avg3x3Stride2", 1, 2)],
        [Pooling("x", "p", "Avg3x3Stride2", 1, 2), Conv("p", "c", 24, 1, 1)],
    ),
    "depthwise": (
        [Conv("x", "c", 0, 1, 1, groups=-1), Pooling("c", "y", "AvgGlobal")],
        [Pooling("x", "p", "AvgGlobal"), Conv("p", "c", 0, 1, 1, groups=-1)],
    ),
    "norm behind": (
        [Conv("x", "c", 24, 1, 1), BatchNorm("c", "n"), Pooling("n", "y", "AvgGlobal")],
        [Pooling("x", "p", "AvgGlobal"), Conv("p", "c", 24, 1, 1), BatchNorm("c", "n")],
    ),
    "norm folded forward": (
        [BatchNorm("x", "n"), Conv("n", "c", 24, 1, 1), Pooling("c", "y", "AvgGlobal")],
        [Pooling("x", "p", "AvgGlobal"), BatchNorm("p", "n"), Conv("n", "c", 24, 1, 1)],
    ),
    "nothing between": (
        [Conv("x", "c", 24, 1, 1), Activation("c", "i", "ReLU", 1.0), Pooling("i", "y", "Avg2x2Stride2", 1, 1)],
        [Pooling("x", "p", "Avg2x2Stride2", 1, 1), Conv("p", "c", 24, 1, 1)],
    ),
    "before two": (
        [Conv("x", "c", 5, 1, 1), Conv("c", "d", 24, 1, 1), Pooling("d", "y", "Avg2x2Stride2")],
        [Pooling("x", "p", "Avg2x2Stride2"), Conv("p", "c", 5, 1, 1), Conv("c", "d", 24, 1, 1)],
    ),
    "behind two": (
        [Conv("x", "c", 24, 1, 1), Pooling("c", "p", "Avg2x2Stride2"), Pooling("p", "y", "AvgGlobal")],
        [Pooling("x", "p", "Avg2x2Stride2"), Pooling("p", "q", "AvgGlobal"), Conv("q", "c", 24, 1, 1)],
    ),
    "a bottleneck": (  # what averages of few channels err all filters have in common, and the last layer adds it up
        [Conv("x", "c", 96, 1, 1), Pooling("c", "p", "Avg2x2Stride2"), FullyConnected("p", "y", 9)],
        [Pooling("x", "p", "Avg2x2Stride2"), Conv("p", "c", 96, 1, 1), FullyConnected("c", "y", 9)],
    ),
}


def orders(name: str, channels: int) -> tuple[Graph, Graph]:
    """A case for some channels of the input."""

    def fit(node: Node) -> Node:
        if isinstance(node, Conv) and node.groups < 0:
            return replace(node, to_channels=channels, groups=channels)
        return node

    first, second = ([fit(node) for node in nodes] for nodes in ORDERS[name])
    return net(*first, channels=channels), net(*second, channels=channels)


def data_of(graph: Graph, kind: str, seed: int) -> tuple[dict[str, Single], dict[str, Single]]:
    """Parameters and input. Cancelling: channels that are nearly alike, and filters that sum to nothing."""
    rng = np.random.default_rng(seed)
    params: dict[str, Single] = float32.random_params(graph, rng)
    inputs: dict[str, Single] = float32.random_inputs(graph, rng, "gaussian")
    for name, array in params.items():
        if kind == "cancelling" and name.endswith("Weights") and array.shape[1] > 1:
            array[...] -= array.mean(axis=1, keepdims=True)
        if kind == "one sign":
            array[...] = np.abs(array)
        if kind == "far from zero" and name.endswith("Means"):
            array[...] += F(1000)
    match kind:
        case "cancelling":
            inputs["x"] = (1 + np.abs(inputs["x"][:1]) + 0.001 * inputs["x"]).astype(F)
        case "one sign":
            inputs["x"] = np.abs(inputs["x"])
        case "far from zero":
            inputs["x"] = inputs["x"] + F(1000)
        case "tiny":
            inputs["x"] = (inputs["x"] * 3e-44).astype(F)
            params = {n: (a * 1e6 if n == "cWeights" else a * 0 if "Bias" in n else a) for n, a in params.items()}
    return params, inputs


def ratios_of(name: str, channels: int, kind: str, seeds: int = 5) -> npt.NDArray[np.float64]:
    """|error| / sigma of the second order by the reference of the first, over some draws of the data."""
    graph, exchanged = orders(name, channels)
    last = exchanged.layers[-1].to_tensor
    found = []
    for seed in range(seeds):
        params, inputs = data_of(graph, kind, seed)
        wanted = graph.layers[-1].to_tensor
        result = reference.run(graph, params, inputs, keep=[wanted])[wanted]
        assert not result.unspecified.any()
        for style in (float32.Style(), float32.Style("lanes", fused=False, bias_first=False)):
            got = float32.single(exchanged, params, inputs, style)[last]
            error = np.abs(got - result.value)
            found.append(np.where(error == 0, 0.0, error / np.sqrt(result.variance)).ravel())
    return np.concatenate(found)


@pytest.mark.parametrize("kind", ["gaussian", "one sign", "cancelling", "far from zero", "tiny"])
@pytest.mark.parametrize("channels", [1, 2, 8, 40])
@pytest.mark.parametrize("name", ORDERS)
def test_errors_of_the_other_order_are_a_few_sigma(name: str, channels: int, kind: str) -> None:
    ratios = ratios_of(name, channels, kind)
    assert ratios.max() < LIMIT
    assert np.sqrt(np.square(ratios).mean()) < 1.25


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the reference takes no average before what it reads."""
    monkeypatch.setattr("reference.interpreter.before_averages", lambda _: frozenset())
    monkeypatch.setattr("reference.exact.before_averages", lambda _: frozenset())


@pytest.mark.parametrize(
    ("name", "channels", "kind"),
    [("norm folded forward", 3, "far from zero"), ("alone", 2, "cancelling"), ("alone", 1, "tiny")],
)
def test_without_it_they_are_more(name: str, channels: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeing = ratios_of(name, channels, kind)
    blind(monkeypatch)
    assert np.square(ratios_of(name, channels, kind)).mean() > 1.2 * np.square(seeing).mean()


@pytest.mark.parametrize("channels", [1, 8, 64, 256])
def test_long_sums_hardly_notice(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two roundings of what is averaged, beside as many as there are channels: sigma is at most 1.5 times as wide."""
    graph, _ = orders("alone", channels)
    params, inputs = data_of(graph, "gaussian", 0)
    wide = reference.run(graph, params, inputs)["y"].variance
    blind(monkeypatch)
    plain = reference.run(graph, params, inputs)["y"].variance
    assert (wide > 0.4 * plain).all(), "samples are drawn anew"
    assert 0.8 < np.sqrt(wide.mean() / plain.mean()) < (1.5 if channels < 64 else 1.15)


def test_a_sum_that_overflows_in_one_order_only() -> None:
    graph = net(Conv("x", "c", 2, 1, 1, groups=2), Pooling("c", "y", "AvgGlobal"), channels=2, size=2)
    params = {"cWeights": np.array([1e-9, 1e9], F).reshape(2, 1, 1, 1), "cBiases": np.zeros(2, F)}
    x = np.array([[1e38, 1.0]], F).T.reshape(2, 1, 1) * np.ones((2, 2, 2), F)
    result = reference.run(graph, params, {"x": x})["y"]
    assert result.unspecified.ravel().tolist() == [True, False]
    x[:, :, :] = np.array([1e9, 1e29], F).reshape(2, 1, 1)
    result = reference.run(graph, params, {"x": x})["y"]
    assert result.unspecified.ravel().tolist() == [False, True]


def test_an_average_before_a_norm_that_is_folded_forward_may_overflow() -> None:
    nodes: tuple[Node, ...] = (BatchNorm("x", "n"), Conv("n", "c", 1, 1, 1))
    params = {"cWeights": np.ones((1, 1, 1, 1), F), "nVariances": np.ones(1, F), "nScales": np.full(1, 1e-9, F)}
    params |= {name: np.zeros(1, F) for name in ("cBiases", "nMeans", "nShifts")}
    x = {"x": np.full((1, 2, 2), 1e38, F)}
    assert reference.run(net(*nodes, Pooling("c", "y", "AvgGlobal"), channels=1, size=2), params, x)["y"].unspecified
    nodes += (Activation("c", "r", "ReLU"),)
    assert not reference.run(net(*nodes, Pooling("r", "y", "AvgGlobal"), channels=1, size=2), params, x)[
        "y"
    ].unspecified


@pytest.mark.parametrize("name", ["alone", "overlapping", "depthwise", "norm behind", "before two"])
def test_what_is_not_finite_comes_out_alike(name: str) -> None:
    """NaN where infinities of both signs meet, or a weight of zero meets one: the same terms add up in both orders."""
    graph, exchanged = orders(name, 3)
    for seed in range(40):
        params, inputs = data_of(graph, "gaussian", seed)
        rng = np.random.default_rng(seed)
        for array in params.values():
            if array.ndim == 4:
                array[rng.random(array.shape) < 0.3] = 0
        for value in rng.choice([np.nan, np.inf, -np.inf, np.inf, -np.inf], 3):
            inputs["x"][tuple(rng.integers(inputs["x"].shape))] = value
        result = reference.run(graph, params, inputs)["y"]
        with np.errstate(all="ignore"):
            got = float32.single(exchanged, params, inputs, float32.Style())[exchanged.layers[-1].to_tensor]
        strange = ~np.isfinite(result.value)
        assert strange.any()
        np.testing.assert_array_equal(got[strange], result.value[strange])
        assert np.isfinite(got[~strange]).all()
        assert not result.unspecified.any()


@given(st.integers(1, 4), st.integers(0, 22), st.integers(0, 11), st.integers(0, 999), st.sampled_from(sorted(ORDERS)))
def test_a_promise_holds_in_either_order(channels: int, bits: int, more: int, seed: int, name: str) -> None:
    graph, exchanged = orders(name, channels)
    rng = np.random.default_rng(seed)
    params = {}
    for p in graph.parameters:
        kind = 1.0 if p.name.endswith("Variances") else 2.0 ** rng.integers(0, 2) if p.name.endswith("Scales") else None
        drawn = rng.integers(-(2**more), 2**more + 1, p.shape)
        params[p.name] = np.asarray(drawn if kind is None else np.full(p.shape, kind), F)
    inputs = {"x": rng.integers(-(2**bits), 2**bits + 1, graph.shapes["x"]).astype(F)}
    wanted = graph.layers[-1].to_tensor
    promised = reference.exactness(graph, params, inputs, keep=[wanted])[wanted]
    value = reference.run(graph, params, inputs, keep=[wanted])[wanted].value
    for order in (graph, exchanged):
        got = float32.single(order, params, inputs, float32.Style())[order.layers[-1].to_tensor]
        np.testing.assert_array_equal(got[promised], value[promised])


@pytest.mark.parametrize(("size", "room"), [(2**19 - 1, True), (2**19 + 1, False), (2**20 + 1, False)])
def test_averages_of_large_numbers_need_room_in_both_orders(
    size: int,
    room: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Filters that cancel make small numbers; before them are two sums of 16, which are sixteenths once averaged."""
    graph = net(Conv("x", "c", 1, 1, 1), Pooling("c", "y", "AvgGlobal"), channels=2, size=4)
    params = {"cWeights": np.array([1, -1], F).reshape(1, 2, 1, 1), "cBiases": np.zeros(1, F)}
    x = np.full((2, 4, 4), size, F)
    x[0, 0, 0] += 1
    assert reference.exactness(graph, params, {"x": x})["y"].item() == room
    blind(monkeypatch)
    assert reference.exactness(graph, params, {"x": x})["y"].item()


def test_where_a_linear_layer_may_lead_to_an_average() -> None:
    graph = net(
        *(Conv("x", "a", 4, 3, 3), BatchNorm("a", "b"), Conv("b", "c", 4, 1, 1), BatchNorm("c", "d")),
        *(Activation("d", "e", "ReLU", 1.0), Pooling("e", "f", "Avg2x2Stride2"), Activation("f", "g", "ReLU")),
        Pooling("g", "h", "MaxGlobal"),
        channels=3,
    )
    assert before_averages(graph) == {"a", "b", "c", "d", "e"}
