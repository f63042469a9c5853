"""Errors that elements have in common: nets of one-sided filters, and batch norms folded forward."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
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
from reference import common, ops

Single: TypeAlias = npt.NDArray[np.float32]

LIMIT = 8.0


def _neighbour(name: str) -> ModuleType:
    """Test folders are no packages: load the module beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


float32 = _neighbour("test_variance")


def net(*layers: Node, channels: int, size: int) -> Graph:
    graph: Graph = float32.net(*layers, channels=channels, size=size)
    return graph


NETS = {
    "few": net(FullyConnected("x", "a", 4), Conv("a", "b", 11, 1, 1), Conv("b", "y", 64, 1, 1), channels=12000, size=1),
    "narrow": net(*(Conv(f"t{i}" if i else "x", f"t{i + 1}", 4, 1, 1) for i in range(8)), channels=300, size=5),
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


def ratios_of(name: str, signs: tuple[int, ...], seeds: int) -> dict[str, list[ops.Array]]:
    """|error| / sigma of every tensor, for several draws of the data: one draw of a common error is one number."""
    graph = NETS[name]
    found: dict[str, list[ops.Array]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        params = one_sided(graph, rng, signs)
        inputs = float32.random_inputs(graph, rng, "positive")
        for style in (float32.Style(), float32.Style("lanes", fused=False, bias_first=False)):
            for tensor, ratios in float32.deviations(graph, params, inputs, style).items():
                found.setdefault(tensor, []).append(ratios.ravel())
    return found


@pytest.mark.parametrize(("signs", "limit"), [((1,), LIMIT), ((-1, 1), 12.0)], ids=["one sign", "a sign per filter"])
@pytest.mark.parametrize("name", NETS)
def test_one_sided_filters(name: str, signs: tuple[int, ...], limit: float) -> None:
    """Filters of different signs make channels of different signs, and so sums that climb before they come back."""
    for tensor, draws in ratios_of(name, signs, seeds=5).items():
        ratios = np.concatenate(draws)
        assert ratios.max() < limit, tensor
        assert np.sqrt(np.square(ratios).mean()) < 1.25, tensor


@pytest.mark.parametrize("name", ["few", "narrow", "wide", "3x3", "residual"])
def test_sigma_of_one_sided_nets_is_no_pessimist(name: str) -> None:
    draws = ratios_of(name, (1,), seeds=5)
    assert all(np.sqrt(np.square(np.concatenate(d)).mean()) > 0.25 for d in draws.values())


def test_common_errors_are_what_makes_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "one_sided", lambda _: False)
    last = np.concatenate(ratios_of("narrow", (1,), seeds=5)["t8"])
    assert np.sqrt(np.square(last).mean()) > 1.5


def test_filters_of_both_signs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    graph = net(*float32.residual(3), channels=8, size=6)
    params, inputs = float32.random_params(graph, rng), float32.random_inputs(graph, rng, "gaussian")
    with_modes = reference.run(graph, params, inputs)
    monkeypatch.setattr(common, "one_sided", lambda _: False)
    without = reference.run(graph, params, inputs)
    for name, result in with_modes.items():
        np.testing.assert_array_equal(result.variance, without[name].variance)


def test_only_one_sided_or_short_filters_are_one_sided() -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((20, 8, 3, 3)).astype(np.float32)
    assert not common.one_sided(weights)
    assert common.one_sided(np.abs(weights))
    assert common.one_sided(-np.abs(weights))
    assert common.one_sided(weights + np.float32(0.5))
    assert common.one_sided(weights[:, :1])
    assert not common.one_sided(np.zeros_like(weights))


def test_the_mode_of_a_sum_is_part_of_its_variance() -> None:
    """Against the covariance of the outputs, computed in full: a projection never exceeds the whole."""
    rng = np.random.default_rng(2)
    weights, independent = rng.uniform(0, 1, (6, 5)), rng.uniform(0.5, 2, 5)
    _, mode = common.weighted_sum(independent, None, lambda v: weights @ v, lambda v: np.full(6, v.sum()))
    covariance = weights @ np.diag(independent) @ weights.T
    assert np.all(np.linalg.eigvalsh(covariance - np.outer(mode, mode)) > -1e-12)
    assert np.trace(np.outer(mode, mode)) > 0.6 * np.trace(covariance)


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
