"""Runs of products of one sign: what they add to the squares, against scalar loops, and what that is good for."""

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
from nn512.graph import Config, Conv, FullyConnected, Graph, Input, Output, build
from reference import ops, runs

Single: TypeAlias = npt.NDArray[np.float32]

LIMIT = 8.0
"""Errors in standard deviations that no honest evaluation may pass."""


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


def excess_of(products: ops.Array) -> float:
    """What the squared steps by channel or by tap exceed the squared products by, channels x taps."""
    single = sum(float(product) ** 2 for product in products.ravel())
    by_channel, by_tap = (sum(float(sum(run)) ** 2 for run in table.tolist()) for table in (products, products.T))
    return max(by_channel, by_tap, single) - single


@pytest.mark.parametrize("block", [1, runs.BLOCK])
@pytest.mark.parametrize(
    "node",
    [
        Conv("x", "y", 4, 3, 2, padding_h=1, padding_w=1),
        Conv("x", "y", 6, 2, 3, stride_h=2, stride_w=3, dilation_h=2, groups=2),
        Conv("x", "y", 3, 2, 2, padding_h=2),
    ],
)
def test_against_scalar_loops(node: Conv, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BLOCK", block)
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((6, 7, 8))) * rng.choice([-1.0, 1.0], (6, 1, 1))
    weights = np.abs(rng.standard_normal((node.to_channels, 6 // node.groups, node.filter_h, node.filter_w)))
    seen = ops.windows(ops.pad(x, node, 0.0), node)
    excess = np.asarray(runs.conv(x, weights, node))
    assert excess.shape == (node.to_channels, *seen.shape[1:3])
    for k, row, column in np.ndindex(excess.shape):
        first = k // (node.to_channels // node.groups) * weights.shape[1]
        channels = seen[first : first + weights.shape[1], row, column].reshape(weights.shape[1], -1)
        expected = excess_of(channels * weights[k].reshape(channels.shape))
        assert excess[k, row, column] == pytest.approx(expected, abs=1e-9)
    assert (excess > 0).any()


@pytest.mark.parametrize("block", [1, runs.BLOCK])
def test_a_fully_connected_layer_is_a_convolution_with_one_window(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BLOCK", block)
    rng = np.random.default_rng(1)
    x, weights = np.abs(rng.standard_normal((5, 3, 4))), rng.standard_normal((7, 5, 3, 4), np.float32)
    wide = weights.astype(np.float64)
    np.testing.assert_allclose(runs.fully_connected(x, weights), runs.conv(x, wide, Conv("x", "y", 7, 3, 4)))


@pytest.mark.parametrize(("channels", "taps"), [(1, 3), (4, 1)])
def test_a_walk_in_one_step_or_of_single_products_adds_nothing(channels: int, taps: int) -> None:
    x, weights = np.ones((channels, 3, 3)), np.ones((2, channels, taps, 1))
    assert np.all(runs.conv(x, weights, Conv("x", "y", 2, taps, 1)) == 0)


def cancelling(kind: str) -> Graph:
    """Sums over channels that have one sign each."""
    layers: dict[str, Conv | FullyConnected] = {
        "conv": Conv("x", "y", 3, 5, 5, padding_h=2, padding_w=2),
        "groups": Conv("x", "y", 4, 7, 7, groups=2),
        "full": FullyConnected("x", "y", 200),
    }
    return build([Config(), Input("x", 52, 9, 9), layers[kind], Output("y")])


def data(graph: Graph, seed: int) -> tuple[dict[str, Single], dict[str, Single]]:
    """Channels of one sign, as behind filters of one sign, and positive weights; half of the channels are negative."""
    rng = np.random.default_rng(seed)
    params = {p.name: rng.uniform(0.9, 1.0, p.shape).astype(np.float32) for p in graph.parameters}
    params["yBiases"][...] = 0
    signs = rng.permutation(np.repeat([-1.0, 1.0], 26)).reshape(52, 1, 1)
    return params, {"x": (rng.uniform(0.9, 1.0, (52, 9, 9)) * signs).astype(np.float32)}


@pytest.mark.parametrize("kind", ["conv", "groups", "full"])
def test_channels_of_either_sign_that_cancel(kind: str) -> None:
    """Without runs, some of these are off by 10 to 20 sigma."""
    graph = cancelling(kind)
    styles = (float32.Style(), float32.Style("lanes", fused=False), float32.Style("shuffled"))
    for seed in range(6):
        for style in styles:
            assert float32.deviations(graph, *data(graph, seed), style)["y"].max() < LIMIT


@pytest.mark.parametrize("kind", ["conv", "groups", "full"])
def test_a_dropped_tap_there_is_far_outside(kind: str) -> None:
    graph = cancelling(kind)
    params, inputs = data(graph, 0)
    right = reference.run(graph, params, inputs)["y"]
    params["yWeights"][:, 3, 1, 1] = 0
    wrong = reference.run(graph, params, inputs)["y"]
    assert np.median(np.abs(wrong.value - right.value) / np.sqrt(right.variance)) > 100


def test_random_signs_hardly_count() -> None:
    rng = np.random.default_rng(2)
    node = Conv("x", "y", 16, 3, 3)
    x, weights = np.abs(rng.standard_normal((64, 9, 9))), rng.standard_normal((16, 64, 3, 3))
    squares = np.square(x).sum() / 81 * 9
    assert np.mean(runs.conv(x, weights, node)) < 0.3 * squares
