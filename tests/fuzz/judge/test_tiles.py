"""Tile algorithms, emulated in float32: one scale of sigma holds for all of them, and planted bugs are far outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

import reference
from fuzz.judge.compare import judge
from fuzz.judge.limits import LIMITS
from fuzz.judge.standard import NEAR
from nn512.graph import Config, Conv, Input, Output, Pooling, build
from reference import Result, Rounding

Single: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Array]
F = np.float32

LIMIT = 8.0
"""Errors in standard deviations that no honest evaluation may pass."""

ALGORITHMS: dict[str, dict[str, Any]] = {
    "F(2x2, 3x3)": {"outputs": (2, 2), "taps": (3, 3)},
    "F(3x3, 3x3)": {"outputs": (3, 3), "taps": (3, 3)},
    "F(4x4, 3x3)": {"outputs": (4, 4), "taps": (3, 3)},
    "F(5x5, 3x3)": {"outputs": (5, 5), "taps": (3, 3)},
    "F(2x4, 3x3)": {"outputs": (2, 4), "taps": (3, 3)},
    "F(4x4, 5x5)": {"outputs": (4, 4), "taps": (5, 5)},
    "F(1x4, 1x3)": {"outputs": (1, 4), "taps": (1, 3)},
    "F(2x1, 7x1)": {"outputs": (2, 1), "taps": (7, 1)},
    "Fourier 8x8, 3x3": {"outputs": (6, 6), "taps": (3, 3), "sizes": (8, 8)},
    "Fourier 16x16, 7x7": {"outputs": (10, 10), "taps": (7, 7), "sizes": (16, 16)},
    "Fourier 16x16, 7x7, stride 2": {"outputs": (13, 13), "taps": (7, 7), "sizes": (16, 16), "stride": 2},
    "Fourier 1x64, 1x32": {"outputs": (1, 33), "taps": (1, 32), "sizes": (1, 64)},
}


def gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.abs(rng.standard_normal(shape))


def far_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape) + 100


def large(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape) * 1e5


def constant(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.full(shape, rng.standard_normal())


def channels_alike(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(rng.standard_normal((1, *shape[1:])), shape)


def tenths(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    del rng
    return np.full(shape, 0.1)


def cancelling(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    weights = rng.standard_normal(shape)
    return np.asarray(weights - weights.mean(axis=(1, 2, 3), keepdims=True))


def tiny(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape) * 1e-6


def of_few_values_sorted(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.sort(rng.choice(rng.standard_normal(3), shape).reshape(shape[0], -1), axis=1).reshape(shape)


RANDOM = [(gaussian, gaussian), (positive, positive), (positive, gaussian), (far_from_zero, cancelling), (large, tiny)]
ALIKE = [(constant, constant), (constant, tenths), (channels_alike, constant), (positive, of_few_values_sorted)]


class Layer:
    """A convolution on data of a kind, and what the reference says of it."""

    def __init__(self, algorithm: Any, channels: int, data: Draw, weights: Draw, groups: int = 1, **sides: Any) -> None:
        rng = np.random.default_rng([channels, groups])
        down, across = algorithm.taps
        height, width = (13, 17) if down > 1 and across > 1 else (3, 71) if down == 1 else (31, 3)
        s, filters = algorithm.stride, 8
        self.algorithm, self.rounding = algorithm, algorithm.rounding
        top, left = down // 2, across // 2
        self.node = Conv("x", "y", filters, down, across, s, s, top, left, groups=groups, **sides)
        self.graph = build([Config(), Input("x", channels, height, width), self.node, Output("y")])
        self.x = data(rng, (channels, height, width)).astype(F)
        self.weights = weights(rng, (filters, channels // groups, down, across)).astype(F)
        self.weights *= F(math.sqrt(2 / self.weights[0].size))
        self.biases = rng.normal(0, 0.3, filters).astype(F)
        self.promised = self.expected(self.weights)

    def expected(self, weights: Single, rounding: Rounding | None = None) -> Result:
        params = {"yWeights": weights, "yBiases": self.biases}
        given = self.rounding if rounding is None else rounding
        return reference.run(self.graph, params, {"x": self.x}, rounding={"y": given})["y"]

    def computed(self) -> Single:
        y: Single = self.algorithm.run(self.x, self.weights, self.biases, self.node)
        return y

    def sigmas(self, y: Single | Array) -> Array:
        return np.asarray(np.abs(y - self.promised.value) / np.sqrt(self.promised.variance))

    def with_a_tap_dropped(self) -> Array:
        weights = self.weights.copy()
        weights[:, 0, self.node.filter_h // 2, self.node.filter_w // 2] = 0
        return np.asarray(self.expected(weights).value)

    def verdict(self, y: Single, rounding: Rounding) -> bool:
        """Whether `y` passes where the layer is said to be evaluated so."""
        want = self.expected(self.weights, rounding)
        nothing = np.zeros_like(want.unspecified)
        return judge("y", y, want.value, want.variance, want.unspecified, nothing, LIMITS["direct"]).ok


def rms(ratios: Array) -> float:
    return float(np.sqrt(np.square(ratios).mean()))


@pytest.mark.parametrize("stored", [None, "OWN_RANGE"])
@pytest.mark.parametrize("channels", [1, 48])
@pytest.mark.parametrize(("data", "weights"), RANDOM)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_one_scale_holds_for_all(
    emulation: ModuleType, name: str, data: Draw, weights: Draw, channels: int, stored: str | None
) -> None:
    algorithm = emulation.Emulation(**ALGORITHMS[name], stored=stored and getattr(emulation, stored))
    layer = Layer(algorithm, channels, data, weights)
    ratios = layer.sigmas(layer.computed())
    assert ratios.max() < LIMIT
    assert 0.1 < rms(ratios) < 1.2
    dropped = layer.sigmas(layer.with_a_tap_dropped())
    assert dropped.max() > 12
    assert stored or np.median(dropped) > 100


@pytest.mark.parametrize("stored", [None, "OWN_RANGE"])
@pytest.mark.parametrize(("data", "weights"), ALIKE)
@pytest.mark.parametrize("name", ["F(2x2, 3x3)", "F(4x4, 3x3)", "F(2x4, 3x3)", "Fourier 16x16, 7x7", "F(2x1, 7x1)"])
def test_equal_terms_raise_no_alarm(
    emulation: ModuleType, name: str, data: Draw, weights: Draw, stored: str | None
) -> None:
    algorithm = emulation.Emulation(**ALGORITHMS[name], stored=stored and getattr(emulation, stored))
    layer = Layer(algorithm, 64, data, weights)
    assert layer.sigmas(layer.computed()).max() < LIMIT
    # Of 64 x 25 equal weights each is less than what storing them in fp16 errs by.
    assert stored or layer.sigmas(layer.with_a_tap_dropped()).max() > 12


@pytest.mark.parametrize("stored", [None, "OWN_RANGE"])
@pytest.mark.parametrize(("data", "weights"), [(gaussian, gaussian), *ALIKE])
@pytest.mark.parametrize("name", ["F(4x4, 3x3)", "F(2x1, 7x1)", "Fourier 8x8, 3x3"])
def test_what_roundings_have_in_common_hardly_narrows(
    emulation: ModuleType, name: str, data: Draw, weights: Draw, stored: str | None
) -> None:
    """What is far below the limits without is below them with it, too; see `fuzz.judge.standard.NEAR`.

    Direct sums have only more variance with it (`tests/reference/test_samples.py`). Here errors meet a second layer.
    """
    algorithm = emulation.Emulation(**ALGORITHMS[name], stored=stored and getattr(emulation, stored))
    layer = Layer(algorithm, 8, data, weights)
    again = replace(layer.node, from_tensor="y", to_tensor="z")
    graph = build([Config(), Input("x", *layer.x.shape), layer.node, again, Output("z")])
    params = {f"{y}{of}": array for y in "yz" for of, array in (("Weights", layer.weights), ("Biases", layer.biases))}
    rounding = dict.fromkeys("yz", layer.rounding)
    derived, widened = (
        reference.run(graph, params, {"x": layer.x}, keep="yz", rounding=rounding, independent=independent)
        for independent in (True, False)
    )
    for tensor in "yz":
        assert np.array_equal(derived[tensor].value, widened[tensor].value)
        ratio = derived[tensor].variance / widened[tensor].variance
        assert ratio.max() < (2 if "Fourier" in name else 1 + 1e-4) < NEAR**-2  # errors make noise of second order
        assert not (derived[tensor].unspecified & ~widened[tensor].unspecified).any()


@pytest.mark.parametrize("name", ["F(4x4, 3x3)", "Fourier 16x16, 7x7"])
def test_groups(emulation: ModuleType, name: str) -> None:
    layer = Layer(emulation.Emulation(**ALGORITHMS[name]), 24, gaussian, gaussian, groups=4)
    ratios = layer.sigmas(layer.computed())
    assert ratios.max() < LIMIT
    assert 0.3 < rms(ratios) < 1.0


@pytest.mark.parametrize("name", ["F(4x4, 3x3)", "Fourier 16x16, 7x7"])
def test_padding_of_one_side(emulation: ModuleType, name: str) -> None:
    sides = {"padding_top": 2, "padding_bottom": 0, "padding_left": 0, "padding_right": 3}
    layer = Layer(emulation.Emulation(**ALGORITHMS[name]), 24, gaussian, gaussian, **sides)
    ratios = layer.sigmas(layer.computed())
    assert ratios.max() < LIMIT
    assert 0.3 < rms(ratios) < 1.0


@pytest.mark.parametrize("stored", [None, "OWN_RANGE"])
@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize(("data", "weights"), [(positive, positive), (gaussian, gaussian), (channels_alike, constant)])
@pytest.mark.parametrize("name", ["F(2x2, 3x3)", "F(4x4, 3x3)", "Fourier 8x8, 3x3"])
def test_what_outputs_err_in_common_adds_up(
    emulation: ModuleType, name: str, data: Draw, weights: Draw, channels: int, stored: str | None
) -> None:
    """A 1x1 convolution sums the outputs of all filters, an average those of all pixels, and both are done exactly."""
    algorithm = emulation.Emulation(**ALGORITHMS[name], stored=stored and getattr(emulation, stored))
    layer = Layer(algorithm, channels, data, weights)
    behind = [Conv("y", "z", 4, 1, 1), Pooling("y", "p", "AvgGlobal"), Pooling("z", "q", "AvgGlobal")]
    outputs = [Output(name) for name in "zpq"]
    graph = build([Config(), Input("x", *layer.x.shape), layer.node, *behind, *outputs])
    sums = np.random.default_rng(1).random((4, 8, 1, 1)).astype(F)
    params = {"yWeights": layer.weights, "yBiases": layer.biases, "zWeights": sums, "zBiases": np.zeros(4, F)}
    promised = reference.run(graph, params, {"x": layer.x}, rounding={"y": layer.rounding})
    y = layer.computed().astype(np.float64)
    z = np.einsum("kc,chw->khw", sums[:, :, 0, 0], y)
    for tensor, values in (("z", z), ("p", y.mean((1, 2), keepdims=True)), ("q", z.mean((1, 2), keepdims=True))):
        want = promised[tensor]
        assert (np.abs(values - want.value) / np.sqrt(want.variance)).max() < LIMIT


# ---------------------------------------------------------------------------------------------- exactness

ONE_TAP = {"F(2x2, 3x3)": 1, "F(3x3, 3x3)": 81, "F(4x4, 3x3)": 81, "F(5x5, 3x3)": 2025, "F(1x4, 1x3)": 9}
"""What weights must be multiples of, besides powers of two."""


def exact_layer(emulation: ModuleType, name: str, tap: tuple[int, int], multiple: int) -> tuple[Layer, Mask]:
    """A layer with one weight per filter on -1, 0 and 1, and what of it is claimed to be exact."""
    layer = Layer(emulation.Emulation(**ALGORITHMS[name]), 8, gaussian, gaussian)
    rng = np.random.default_rng(0)
    layer.x = rng.integers(-1, 2, layer.x.shape).astype(F)
    layer.weights[...] = 0
    layer.weights[np.arange(8), rng.integers(0, 8, 8), tap[0], tap[1]] = multiple * rng.choice([-1, 1], 8)
    layer.biases = rng.integers(-3, 4, 8).astype(F)
    layer.promised = layer.expected(layer.weights)
    params = {"yWeights": layer.weights, "yBiases": layer.biases}
    claimed = reference.exactness(layer.graph, params, {"x": layer.x}, rounding={"y": layer.rounding})["y"]
    return layer, claimed


@pytest.mark.parametrize(("name", "multiple"), ONE_TAP.items())
def test_where_exactness_is_claimed_every_bit_is_right(emulation: ModuleType, name: str, multiple: int) -> None:
    shares = []
    for tap in np.ndindex(*ALGORITHMS[name]["taps"]):
        layer, claimed = exact_layer(emulation, name, tap, multiple)
        np.testing.assert_array_equal(layer.computed()[claimed], layer.promised.value[claimed])
        shares.append(claimed.mean())
    assert max(shares) == 1


def test_dense_integers_are_exact_with_small_tiles(emulation: ModuleType) -> None:
    layer = Layer(emulation.Emulation(**ALGORITHMS["F(2x2, 3x3)"]), 8, gaussian, gaussian)
    rng = np.random.default_rng(0)
    layer.x, layer.weights, layer.biases = (
        rng.integers(-3, 4, array.shape).astype(F) for array in (layer.x, layer.weights, layer.biases)
    )
    layer.promised = layer.expected(layer.weights)
    params = {"yWeights": layer.weights, "yBiases": layer.biases}
    for rounding in (layer.rounding, emulation.Emulation((2, 2), (3, 3), stored=emulation.OWN_RANGE).rounding):
        assert reference.exactness(layer.graph, params, {"x": layer.x}, rounding={"y": rounding})["y"].all()
    np.testing.assert_array_equal(layer.computed(), layer.promised.value)
    larger = emulation.Emulation((4, 4), (3, 3)).rounding  # 3 / 81 is no number of float32
    assert not reference.exactness(layer.graph, params, {"x": layer.x}, rounding={"y": larger})["y"].any()
    sines = emulation.Emulation((6, 6), (3, 3), (8, 8)).rounding
    assert not reference.exactness(layer.graph, params, {"x": layer.x}, rounding={"y": sines})["y"].any()


# ---------------------------------------------------------------------------------------------- what is not finite


@pytest.mark.parametrize(
    ("tiles", "stride", "window", "rows"),
    [
        # Tiles of 2 outputs at rows 0, 2, 4 see rows -1..2, 1..4, 3..6 of the tensor.
        ("F(2x2, 3x3)", 1, 3, {0: (0, 2), 2: (0, 4), 3: (2, 6), 6: (4, 8)}),
        # Of 4: rows -1..4, 3..8.
        ("F(4x4, 3x3)", 1, 3, {2: (0, 4), 3: (0, 8), 5: (4, 8)}),
        # Of 13 at stride 2: rows -3..27, 23..53.
        ("Fourier 16x16, 7x7, stride 2", 2, 7, {22: (0, 13), 23: (0, 26), 27: (0, 26), 28: (13, 26)}),
    ],
)
def test_what_is_not_finite_spoils_tiles_that_see_it(
    emulation: ModuleType, tiles: str, stride: int, window: int, rows: dict[int, tuple[int, int]]
) -> None:
    rounding = emulation.Emulation(**ALGORITHMS[tiles]).rounding
    size = 60
    node = Conv("x", "y", 2, window, window, stride, stride, window // 2, window // 2, groups=2)
    graph = build([Config(), Input("x", 2, size, size), node, Output("y")])
    params = {p.name: np.ones(p.shape, F) for p in graph.parameters}
    for row, (first, behind) in rows.items():
        x = np.ones((2, size, size), F)
        x[1, row, 30] = np.nan
        found = reference.run(graph, params, {"x": x}, rounding={"y": rounding})["y"].unspecified
        assert not found[0].any()  # of the other group
        np.testing.assert_array_equal(np.flatnonzero(found[1].any(axis=1)), np.arange(first, behind))


def test_transforms_may_overflow(emulation: ModuleType) -> None:
    node = Conv("x", "y", 1, 3, 3, padding_h=1, padding_w=1)
    graph = build([Config(), Input("x", 1, 12, 12), node, Output("y")])
    params = {"yWeights": np.zeros((1, 1, 3, 3), F), "yBiases": np.ones(1, F)}
    x = np.zeros((1, 12, 12), F)
    x[0, 5, 5] = 1e38
    for name, spoiled in (("F(2x2, 3x3)", 0), ("F(4x4, 3x3)", 16), ("Fourier 8x8, 3x3", 0)):
        rounding = emulation.Emulation(**ALGORITHMS[name]).rounding
        found = reference.run(graph, params, {"x": x}, rounding={"y": rounding})["y"]
        assert found.unspecified.sum() == spoiled
