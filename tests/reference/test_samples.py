"""Errors that elements have in common: one-sided filters, bottlenecks; and batch norms folded forward."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

import reference
from nn512.graph import (
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Graph,
    Input,
    Node,
    Output,
    Pooling,
    Softmax,
    build,
)
from reference import samples
from reference.windows import Array
from tests.reference import single as float32

Single: TypeAlias = npt.NDArray[np.float32]

F = np.float32

LIMIT = 8.0


def net(*layers: Node, channels: int, size: int) -> Graph:
    graph: Graph = float32.net(*layers, channels=channels, size=size)
    return graph


NETS = {
    "few": net(FullyConnected("x", "a", 4), Conv("a", "b", 11, 1, 1), Conv("b", "y", 64, 1, 1), channels=12000, size=1),
    "narrow": net(*(Conv(f"t{i}" if i else "x", f"t{i + 1}", 4, 1, 1) for i in range(8)), channels=300, size=5),
    "hourglass": net(
        *(Conv(f"t{i}" if i else "x", f"t{i + 1}", (2, 40)[i % 2], 1, 1) for i in range(8)), channels=40, size=3
    ),
    "wide": net(*(Conv(f"t{i}" if i else "x", f"t{i + 1}", 64, 1, 1) for i in range(6)), channels=64, size=4),
    "3x3": net(*(float32.conv3(f"t{i}" if i else "x", f"t{i + 1}", 8) for i in range(6)), channels=8, size=7),
    "residual": net(*float32.residual(5), channels=8, size=6),
    "dense": net(*float32.dense(4), channels=8, size=6),
    "depthwise": net(
        Conv("x", "a", 6, 3, 3, padding_h=1, padding_w=1, groups=6),
        Conv("a", "b", 6, 1, 1),
        Conv("b", "c", 6, 3, 3, groups=3),
        Conv("c", "y", 2, 1, 1),
        channels=6,
        size=8,
    ),
    "all kinds": net(
        float32.conv3("x", "a", 5),
        float32.relu("a", "b", -0.5),
        Pooling("b", "c", "Max3x3Stride2"),
        Conv("c", "d", 5, 1, 1),
        Add("c", "d", "e"),
        Concat("e", "d", "f"),
        Conv("f", "g", 7, 1, 1),
        Pooling("g", "h", "Avg2x2Stride2"),
        BatchNorm("h", "i"),
        FullyConnected("i", "j", 9),
        Softmax("j", "k"),
        channels=40,
        size=12,
    ),
}


def one_sided(graph: Graph, rng: np.random.Generator, signs: tuple[int, ...]) -> dict[str, Single]:
    """Parameters whose filters have weights of one sign each, drawn from `signs`."""
    params: dict[str, Single] = float32.random_params(graph, rng)
    for layer in graph.layers:
        if isinstance(layer, Conv | FullyConnected):
            weights = params[layer.to_tensor + "Weights"].reshape(layer.to_channels, -1)
            weights[...] = np.abs(weights) * rng.choice(signs, (len(weights), 1)) / np.sqrt(weights.shape[1])
    return params


def ratios_of(name: str, signs: tuple[int, ...], seeds: int) -> dict[str, list[Array]]:
    """|error| / sigma of every tensor, for several draws of the data: one draw of a common error is one number."""
    graph = NETS[name]
    found: dict[str, list[Array]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        params = one_sided(graph, rng, signs)
        inputs = float32.random_inputs(graph, rng, "positive")
        for style in (float32.Style(), float32.Style("lanes", fused=False, bias_first=False)):
            for tensor, ratios in float32.deviations(graph, params, inputs, style).items():
                found.setdefault(tensor, []).append(ratios.ravel())
    return found


@pytest.mark.parametrize("signs", [(1,), (-1, 1)], ids=["one sign", "a sign per filter"])
@pytest.mark.parametrize("name", NETS)
def test_one_sided_filters(name: str, signs: tuple[int, ...]) -> None:
    """Filters of different signs make channels of different signs, and so sums that climb before they come back."""
    for tensor, draws in ratios_of(name, signs, seeds=5).items():
        ratios = np.concatenate(draws)
        assert ratios.max() < LIMIT, tensor
        assert np.sqrt(np.square(ratios).mean()) < 1.25, tensor


@pytest.mark.parametrize("name", ["narrow", "hourglass", "wide", "residual"])
def test_filters_of_both_signs(name: str) -> None:
    graph = NETS[name]
    draws = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        params, inputs = float32.random_params(graph, rng), float32.random_inputs(graph, rng, "gaussian")
        draws.append(float32.deviations(graph, params, inputs, float32.Style())[graph.layers[-1].to_tensor])
    assert np.max(draws) < LIMIT
    assert 0.25 < np.sqrt(np.square(draws).mean()) < 1.0


@pytest.mark.parametrize("name", ["few", "narrow", "hourglass", "wide", "3x3", "residual"])
def test_sigma_of_one_sided_nets_is_no_pessimist(name: str) -> None:
    draws = ratios_of(name, (1,), seeds=5)
    assert all(np.sqrt(np.square(np.concatenate(d)).mean()) > 0.25 for d in draws.values())


@pytest.mark.parametrize("kind", ["gaussian", "positive", "huge"])
@pytest.mark.parametrize("name", NETS)
def test_what_roundings_have_in_common_only_widens(name: str, kind: str) -> None:
    """What is within limits without is so with it: the tester asks for it only where it is not."""
    graph = NETS[name]
    rng = np.random.default_rng(5)
    params = one_sided(graph, rng, (-1, 1))
    inputs = float32.random_inputs(graph, rng, "gaussian" if kind == "huge" else kind)
    if kind == "huge":  # some of what is computed is out of range
        inputs = {name: array * F(1e37) for name, array in inputs.items()}
    tensors = [layer.to_tensor for layer in graph.layers]
    derived, widened = (
        reference.run(graph, params, inputs, keep=tensors, independent=independent) for independent in (True, False)
    )
    for tensor in tensors:
        assert np.array_equal(derived[tensor].value, widened[tensor].value, equal_nan=True)
        assert (derived[tensor].variance <= widened[tensor].variance).all()
        assert not (derived[tensor].unspecified & ~widened[tensor].unspecified).any()


def test_samples_are_what_makes_the_difference() -> None:
    graph = NETS["narrow"]
    ratios = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        params = one_sided(graph, rng, (1,))
        inputs = float32.random_inputs(graph, rng, "positive")
        result = reference.run(graph, params, inputs, sampled=0)["t8"]
        got = float32.single(graph, params, inputs, float32.Style())["t8"]
        ratios.append((got - result.value) / np.sqrt(result.variance))
    assert np.sqrt(np.square(ratios).mean()) > 1.5


BOTTLENECK = net(
    FullyConnected("x", "a", 3),
    float32.relu("a", "b", -0.25),
    BatchNorm("b", "c"),
    Conv("c", "d", 13, 1, 1),
    Conv("d", "e", 13, 1, 1, groups=13),
    FullyConnected("e", "f", 97),
    BatchNorm("f", "y"),
    channels=4,
    size=7,
)


def cancelling(graph: Graph, seed: int) -> tuple[dict[str, Single], dict[str, Single]]:
    """Inputs far from zero, and filters that sum to nearly nothing."""
    rng = np.random.default_rng(seed)
    params: dict[str, Single] = float32.random_params(graph, rng)
    for layer in graph.layers:
        if isinstance(layer, Conv | FullyConnected):
            weights = params[f"{layer.to_tensor}Weights"].reshape(layer.to_channels, -1)
            if weights.shape[1] > 1:
                weights -= weights.mean(axis=1, keepdims=True)
    return params, {name: array + F(100) for name, array in float32.random_inputs(graph, rng, "gaussian").items()}


def stored_as_half(weights: Single) -> Single:
    """Weights as fp16 with the largest of each filter lifted to 2^14..2^15."""
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scale = np.exp2(15 - np.frexp(largest)[1]).astype(F)
    stored: Single = (weights * scale).astype(np.float16).astype(F) / scale
    return stored


def worst_of_half(graph: Graph, layers: tuple[str, ...], seed: int, sampled: int | None = None) -> tuple[float, float]:
    """Largest and rms error over sigma of the result y where some layers have weights in fp16."""
    params, inputs = cancelling(graph, seed)
    rounding = dict.fromkeys(layers, reference.HALF_WEIGHTS)
    result = reference.run(graph, params, inputs, rounding=rounding, sampled=sampled)["y"]
    stored = {f"{layer}Weights": stored_as_half(params[f"{layer}Weights"]) for layer in layers}
    got = float32.single(graph, {**params, **stored}, inputs, float32.Style())["y"]
    ratios = np.abs(got - result.value) / np.sqrt(result.variance)
    return float(ratios.max()), float32.rms(ratios)


@pytest.mark.parametrize("layers", [("a",), ("a", "f")], ids=["one layer", "two layers"])
def test_three_noisy_elements_that_feed_many(layers: tuple[str, ...]) -> None:
    """Errors of fp16 weights in the first layer, which the last layer adds up again with both signs.

    What the elements have in common is of rank three: with one random number for all of them, it would cancel here (up
    to 1,800 sigma).
    """
    found = [worst_of_half(BOTTLENECK, layers, seed) for seed in range(6)]
    assert max(worst for worst, _ in found) < 12.0
    assert 0.25 < np.sqrt(np.mean(np.square([rms for _, rms in found]))) < 1.25


def test_rounded_weights_err_alike_at_all_pixels() -> None:
    """A filter of one sign over the whole image adds up what fp16 weights of a convolution do to its pixels."""
    graph = net(Conv("x", "a", 4, 3, 3), FullyConnected("a", "y", 5), channels=3, size=12)
    found: list[Array] = []
    derived: list[Array] = []
    for seed in range(20):
        params, inputs = cancelling(graph, seed)
        params["yWeights"] = np.abs(params["yWeights"])
        rounding = {"a": reference.HALF_WEIGHTS}
        stored = {**params, "aWeights": stored_as_half(params["aWeights"])}
        got = float32.single(graph, stored, inputs, float32.Style())["y"]
        for ratios, sampled in ((found, None), (derived, 0)):
            result = reference.run(graph, params, inputs, rounding=rounding, sampled=sampled)["y"]
            ratios.append((got - result.value) / np.sqrt(result.variance))
    assert np.abs(found).max() < LIMIT
    assert 0.25 < np.sqrt(np.square(found).mean()) < 1.25
    assert np.sqrt(np.square(derived).mean()) > 3


def test_many_samples_come_to_the_covariance() -> None:
    """Through linear layers the variance is the diagonal of J C J^T: what each layer adds, by all the paths from it."""
    graph = net(Conv("x", "a", 2, 1, 1), Conv("a", "b", 9, 1, 1), Conv("b", "y", 5, 1, 1), channels=40, size=1)
    rng = np.random.default_rng(5)
    params, inputs = one_sided(graph, rng, (1,)), float32.random_inputs(graph, rng, "positive")
    a, b, y = (params[f"{name}Weights"][:, :, 0, 0].astype(np.float64) for name in "aby")
    results = reference.run(graph, params, inputs, keep=["a", "b", "y"], sampled=0)
    at = {name: result.variance.ravel() for name, result in results.items()}
    own_b, own_y = at["b"] - np.square(b) @ at["a"], at["y"] - np.square(y) @ at["b"]
    assert a.shape == (2, 40)
    expected = np.square(y @ b) @ at["a"] + np.square(y) @ own_b + own_y
    measured = reference.run(graph, params, inputs, sampled=20_000)["y"].variance.ravel()
    np.testing.assert_allclose(measured, np.maximum(expected, at["y"]), rtol=0.05)
    assert (expected > 1.5 * at["y"]).all()


def test_samples_can_only_widen_and_are_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    for graph in (NETS["all kinds"], NETS["residual"], NETS["dense"]):
        params, inputs = float32.random_params(graph, rng), float32.random_inputs(graph, rng, "gaussian")
        names = [layer.to_tensor for layer in graph.layers]
        derived = reference.run(graph, params, inputs, keep=names, sampled=0)
        first, second = (reference.run(graph, params, inputs, keep=names) for _ in range(2))
        for name in names:
            np.testing.assert_array_equal(first[name].value, derived[name].value)
            np.testing.assert_array_equal(first[name].variance, second[name].variance)
            assert (first[name].variance >= derived[name].variance).all()
            assert first[name].variance.mean() < 1.5 * derived[name].variance.mean()


@pytest.mark.parametrize(("size", "count"), [(9, 16), (500, 8), (2000, 8), (3000, 0)])
def test_large_graphs_get_fewer_samples(size: int, count: int) -> None:
    assert samples.sensible_count(net(float32.conv3("x", "y", 8), channels=8, size=size)) == count


DIAMONDS: dict[str, list[Node]] = {
    "x + x": [Conv("x", "a", 4, 1, 1), Add("a", "a", "b"), Add("b", "b", "c"), Conv("c", "y", 5, 1, 1)],
    "two ways": [
        Conv("x", "a", 2, 1, 1),
        Conv("a", "b", 9, 1, 1),
        Conv("a", "c", 9, 3, 3, padding_h=1, padding_w=1),
        Add("b", "c", "d"),
        float32.relu("d", "e", -0.5),
        FullyConnected("e", "y", 30),
    ],
    "softmax": [FullyConnected("x", "a", 3), Softmax("a", "b"), Conv("b", "c", 20, 1, 1), Conv("c", "y", 40, 1, 1)],
    "mean": [
        Conv("x", "a", 3, 1, 1),
        Pooling("a", "b", "AvgGlobal"),
        Conv("b", "c", 20, 1, 1),
        float32.relu("c", "d", 0.3),
        Concat("c", "d", "e"),
        FullyConnected("e", "y", 50),
    ],
    "maximum": [Conv("x", "a", 3, 1, 1), Pooling("a", "b", "Max2x2Stride2"), FullyConnected("b", "y", 40)],
}


@pytest.mark.parametrize("kind", ["gaussian", "positive", "constant", "offset"])
@pytest.mark.parametrize("name", DIAMONDS)
def test_what_meets_again(name: str, kind: str) -> None:
    graph = net(*DIAMONDS[name], channels=24, size=6)
    found: list[Array] = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        params, inputs = float32.random_params(graph, rng), float32.random_inputs(graph, rng, kind)
        styles = (float32.Style(), float32.Style("lanes", fused=False, bias_first=False))
        found += [float32.deviations(graph, params, inputs, style)["y"].ravel() for style in styles]
    ratios = np.concatenate(found)
    assert ratios.max() < LIMIT
    assert 0.1 < np.sqrt(np.square(ratios).mean()) < 1.25


SORTED = net(
    Conv("x", "a", 16, 1, 1),
    float32.relu("a", "b"),
    float32.conv3("b", "c", 5),
    float32.conv3("c", "d", 5),
    float32.conv3("d", "y", 5),
    channels=35,
    size=12,
)


def repeated(seed: int) -> tuple[dict[str, Single], dict[str, Single]]:
    """Few different products in the first layer, sorted along its channels; later filters have one sign."""
    rng = np.random.default_rng(seed)
    params: dict[str, Single] = float32.random_params(SORTED, rng)
    values = np.array([-0.35936511, 0.03448473, 0.67187804], F)
    params["aWeights"] = np.sort(rng.choice(values, params["aWeights"].shape), axis=1)
    for name in ("c", "d", "y"):
        params[f"{name}Weights"] = np.abs(params[f"{name}Weights"])
    x = rng.choice(np.array([-0.51719052, -0.39487109, -0.36119616, 0.00606224], F), (35, 12, 12))
    return params, {"x": x}


@pytest.mark.parametrize("style", [float32.Style("forward", fused=False), float32.Style("reverse")])
def test_elements_of_the_same_products_err_alike(style: float32.Style) -> None:
    """Their values differ, and which sign they err with is known for no binade alone."""
    for seed in range(6):
        found = float32.deviations(SORTED, *repeated(seed), style)
        assert all(ratios.max() < LIMIT for ratios in found.values())
        assert all(float32.rms(ratios) < 4 for ratios in found.values())


def test_a_dropped_tap_of_repeated_products_is_far_outside() -> None:
    params, inputs = repeated(0)
    right = reference.run(SORTED, params, inputs)["y"]
    params["aWeights"][:, 0] = 0
    wrong = reference.run(SORTED, params, inputs)["y"]
    assert np.median(np.abs(wrong.value - right.value) / np.sqrt(right.variance)) > 100


def test_a_dropped_tap_behind_a_bottleneck_is_far_outside() -> None:
    params, inputs = cancelling(BOTTLENECK, 0)
    right = reference.run(BOTTLENECK, params, inputs)["y"]
    params["aWeights"][:, 0, 0, 0] = 0
    wrong = reference.run(BOTTLENECK, params, inputs)["y"]
    assert np.median(np.abs(wrong.value - right.value) / np.sqrt(right.variance)) > 100


def test_errors_stop_at_what_is_not_finite() -> None:
    graph = net(*DIAMONDS["mean"], channels=24, size=6)
    rng = np.random.default_rng(0)
    params, inputs = float32.random_params(graph, rng), float32.random_inputs(graph, rng, "gaussian")
    inputs["x"][0, 0, 0], inputs["x"][1, 2, 2] = np.nan, np.inf
    results = reference.run(graph, params, inputs, keep=["a", "b", "y"])
    for result in results.values():
        assert np.isfinite(result.variance).all()
        assert (result.variance[~np.isfinite(result.value)] == 0).all()
    assert (results["a"].variance > 0).sum() == 3 * (36 - 2)


FORWARD: dict[str, list[Node]] = {
    "1x1": [BatchNorm("x", "n"), Conv("n", "y", 8, 1, 1)],
    "3x3 in groups": [BatchNorm("x", "n"), Conv("n", "y", 8, 3, 3, groups=2)],
    "fully connected": [BatchNorm("x", "n"), FullyConnected("n", "y", 8)],
    "two in a row": [BatchNorm("x", "m"), BatchNorm("m", "n"), Conv("n", "y", 8, 3, 3)],
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_batch_norms_folded_forward(name: str, offset: float) -> None:
    """Where x s and h cancel, as data are far from zero, the folded sum passes through numbers much larger than y."""
    graph = net(*FORWARD[name], channels=32, size=6)
    rng = np.random.default_rng(4)
    worst, plain = [], []
    for _ in range(4):
        params = float32.random_params(graph, rng)
        first = graph.layers[0].to_tensor
        params[f"{first}Means"] += np.float32(offset)
        inputs = {"x": (rng.standard_normal((32, 6, 6)) + offset).astype(np.float32)}
        result = reference.run(graph, params, inputs)["y"]
        got = evaluate_folded(graph, params, inputs["x"])
        worst.append(np.abs(got - result.value) / np.sqrt(result.variance))
        folded = np.sqrt(result.variance).mean()
        hidden = reference.run(split(graph), params, inputs)["y"]
        plain.append(folded / np.sqrt(hidden.variance).mean())
    ratios = np.concatenate([w.ravel() for w in worst])
    assert ratios.max() < LIMIT
    assert 0.2 < np.sqrt(np.square(ratios).mean()) < 1.25
    assert np.mean(plain) > (1.7 if offset else 1)


def split(graph: Graph) -> Graph:
    """The same net with a ReLU of slope 1 behind every batch norm: nothing can be folded forward there."""
    nodes: list[Node] = [Config(), Input("x", *graph.shapes["x"])]
    before = "x"
    for layer in graph.layers:
        if isinstance(layer, BatchNorm):
            nodes += [BatchNorm(before, layer.to_tensor), float32.relu(layer.to_tensor, f"{layer.to_tensor}i", 1.0)]
            before = f"{layer.to_tensor}i"
        elif isinstance(layer, Conv):
            nodes.append(Conv(before, "y", 8, layer.filter_h, layer.filter_w, groups=layer.groups))
        else:
            nodes.append(FullyConnected(before, "y", 8))
    return build([*nodes, Output("y")])


def evaluate_folded(graph: Graph, params: dict[str, Single], x: Single) -> Single:
    """The net in float32 with all batch norms in the weights of its last layer."""
    *norms, layer = graph.layers
    factor, shift = np.ones(len(x)), np.zeros(len(x))
    for norm in norms:
        assert isinstance(norm, BatchNorm)
        scale, more = float32.folded(norm, params)
        factor, shift = factor * scale, shift * scale + more
    weights = params["yWeights"].astype(np.float64)
    groups = layer.groups if isinstance(layer, Conv) else 1
    channels = np.arange(len(weights)) // (len(weights) // groups) * weights.shape[1]
    index = channels[:, np.newaxis] + np.arange(weights.shape[1])
    spread = (slice(None), slice(None), np.newaxis, np.newaxis)
    biases = (params["yBiases"] + (weights * shift[index][spread]).sum(axis=(1, 2, 3))).astype(np.float32)
    params = {"yWeights": (weights * factor[index][spread]).astype(np.float32), "yBiases": biases}
    result: Single = float32.step(layer, [x], params, float32.Style())
    return result
