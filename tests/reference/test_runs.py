"""Runs of products of one sign: what they add to the squares, against scalar loops, and what that is good for."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

import reference
from nn512.graph import Config, Conv, FullyConnected, Graph, Input, Output, build
from reference import kinds, lines, runs
from reference.windows import Array, Window
from tests.reference import single as float32

Single: TypeAlias = npt.NDArray[np.float32]

LIMIT = 8.0
"""Errors in standard deviations that no honest evaluation may pass."""


def walk_of(products: Array) -> tuple[float, float]:
    """Excess and climb of products, channels x taps, that fit into lines of one channel or one tap each."""
    single = sum(float(product) ** 2 for product in products.ravel())
    stand_ins, climb = [single], 0.0
    for table in (products, products.T):
        if len(table) == 1:
            continue
        steps = [float(sum(line)) for line in table.tolist()]
        ends = [0.0]
        for step in steps:
            ends.append(ends[-1] + step)
        mean_square = sum(s * s + s * t + t * t for s, t in itertools.pairwise(ends)) / 3 / len(steps)
        stand_ins += [sum(step**2 for step in steps), 2 * (mean_square - ends[-1] ** 2 / 3)]
        climb = max(climb, *map(abs, ends))
    return max(stand_ins) - single, climb


@pytest.mark.parametrize("block", [1, lines.BLOCK])
@pytest.mark.parametrize(
    "node",
    [
        Conv("x", "y", 4, 3, 2, padding_h=1, padding_w=1),
        Conv("x", "y", 6, 2, 3, stride_h=2, stride_w=3, dilation_h=2, groups=2),
        Conv("x", "y", 3, 2, 2, padding_h=2),
    ],
)
def test_against_scalar_loops(node: Conv, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((6, 7, 8))) * rng.choice([-1.0, 1.0], (6, 1, 1))
    weights = np.abs(rng.standard_normal((node.to_channels, 6 // node.groups, node.filter_h, node.filter_w)))
    seen = kinds.conv.window_of(node).taps(x)
    walk = runs.conv(x, weights, kinds.conv.window_of(node))
    assert walk is not None
    excess = walk.excess
    assert excess.shape == (node.to_channels, *seen.shape[1:3])
    for k, row, column in np.ndindex(excess.shape):
        first = k // (node.to_channels // node.groups) * weights.shape[1]
        channels = seen[first : first + weights.shape[1], row, column].reshape(weights.shape[1], -1)
        expected = walk_of(channels * weights[k].reshape(channels.shape))
        assert excess[k, row, column] == pytest.approx(expected[0], abs=1e-9)
        assert walk.climb[k, row, column] == pytest.approx(expected[1], abs=1e-9)
    assert (excess > 0).any()


@pytest.mark.parametrize("block", [1, lines.BLOCK])
def test_a_fully_connected_layer_is_a_convolution_with_one_window(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    rng = np.random.default_rng(1)
    x, weights = np.abs(rng.standard_normal((5, 3, 4))), rng.standard_normal((7, 5, 3, 4), np.float32)
    wide = weights.astype(np.float64)
    walks = runs.fully_connected(x, weights), runs.conv(x, wide, Window(3, 4))
    assert walks[0] is not None
    assert walks[1] is not None
    np.testing.assert_allclose(walks[0], walks[1])


def test_few_products_have_no_walk_worth_a_look() -> None:
    assert runs.conv(np.ones((4, 3, 3)), np.ones((2, 4, 3, 1)), Window(3, 1)) is None
    assert runs.fully_connected(np.ones((4, 3, 1)), np.ones((2, 4, 3, 1), np.float32)) is None


@pytest.mark.parametrize("channels", [64, 1001])
def test_products_sorted_by_sign_climb_half_of_their_sum(channels: int) -> None:
    """A walk up to the peak P and back has the mean square P^2/3."""
    weights = np.where(np.arange(channels) < channels // 2, 1.0, -1.0).reshape(1, -1, 1, 1)
    walk = runs.conv(np.ones((channels, 1, 1)), weights, Window(1, 1))
    assert walk is not None
    assert walk.climb == pytest.approx(channels / 2, rel=0.05)
    assert walk.excess + channels == pytest.approx(2 * (channels / 2) ** 2 / 3, rel=0.2)


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
    walk = runs.conv(x, weights, kinds.conv.window_of(node))
    assert walk is not None
    assert np.mean(walk.excess) < 0.4 * squares  # of four estimates the largest
