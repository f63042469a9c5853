"""Numbers rounded to bfloat16: which, how their errors go on, and what layers make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from fuzz.judge.algorithms import winograd
from nn512.algebra.cook_toom import Matrix, cook_toom
from nn512.graph import Graph, parse
from reference import BFLOAT16, FOLDED_BFLOAT16
from reference.bfloat16 import flips, narrowed, rounded
from reference.tensor import Result, Tensor
from reference.windows import Array, Single

INF, NAN = np.inf, np.nan

BY_HAND = [
    (1.0, 1.0),
    (257.0, 256.0),  # 8 bits are left: the middle between 256 and 258 goes to the even one
    (259.0, 260.0),
    (257.0 + 2.0**-15, 258.0),
    (-0.1, -0.10009765625),
    (1 + 2.0**-8, 1.0),
    (1 + 3 * 2.0**-8, 1 + 2.0**-6),
    (2.0**128 - 2.0**119, INF),  # the middle between the largest number and what would follow it
    (2.0**128 - 2.0**119 - 2.0**104, 2.0**128 - 2.0**120),
    (2.0**-126, 2.0**-126),
    (2.0**-126 * (1 - 2.0**-24), 0.0),
    (-(2.0**-130), -0.0),
    (0.0, 0.0),
    (INF, INF),
    (-INF, -INF),
    (NAN, NAN),
]


@pytest.mark.parametrize(("x", "result"), BY_HAND)
def test_by_hand(x: float, result: float) -> None:
    found = rounded(np.array([x]))
    assert np.array_equal(found, [result], equal_nan=True)
    assert np.signbit(found) == np.signbit(result) or np.isnan(x)


@given(st.integers(0, 2**32 - 1))
def test_is_the_nearest_of_all(bits: int) -> None:
    """Against the two numbers around a float whose lower halves are 0."""
    x = np.array([bits], np.uint32).view(np.float32).astype(np.float64)
    found = rounded(x).item()
    if not np.isfinite(x) or abs(x.item()) < 2.0**-126 or not np.isfinite(found):
        return
    low = np.array([bits & 0xFFFF0000], np.uint32).view(np.float32).astype(np.float64).item()
    high = np.array([(bits & 0xFFFF0000) + 0x10000], np.uint32).view(np.float32).astype(np.float64).item()
    distances = {y: abs(y - x.item()) for y in (low, high)}
    assert distances[found] == min(distances.values())
    if distances[low] == distances[high]:
        assert np.array([found], np.float32).view(np.uint32).item() >> 16 & 1 == 0


def tensor(value: Array, variance: Array, errors: Array) -> Tensor:
    nowhere = np.zeros(value.shape, np.bool_)
    return Tensor(Result(value, variance, nowhere), variance, errors, frozenset(), 0, 1.0)


def test_errors_are_gone_far_from_a_middle_and_whole_beside_it() -> None:
    value = np.array([1.0, 1 + 2.0**-8 + 2.0**-22, 1 + 2.0**-8 - 2.0**-22, 3.0]).reshape(4, 1, 1)
    variance = np.full(value.shape, 2.0**-46)
    variance[3] = 0.25  # as large as many numbers
    errors = np.sqrt(variance)[:, np.newaxis] * np.array([-1.0, 1.0]).reshape(1, 2, 1, 1)
    found = narrowed(tensor(value, variance, errors))
    assert found.value.ravel().tolist() == [1.0, 1 + 2.0**-7, 1.0, 3.0]
    # ulp 2^-7: a flip is half of it from the middle; of the last, ulp 2^-6, its own error and one rounding.
    assert found.derived.ravel().tolist() == [0.0, 2.0**-16, 2.0**-16, 0.25 + 2.0**-14]
    # A sample of sigma does not reach the middle, but 8 sigma do.
    assert found.errors[:, :, 0, 0].tolist() == [[0.0, 0.0], [-(2.0**-7), 0.0], [0.0, 2.0**-7], [-0.5, 0.5]]


@given(st.integers(0, 999), st.integers(-40, 0))
def test_what_becomes_of_an_error_is_within_its_sigma(seed: int, size: int) -> None:
    """An error of up to 8 sigma is one of up to 8 sigma again, or none."""
    rng = np.random.default_rng(seed)
    value = rng.standard_normal((64, 1, 1))
    sigma = np.full(value.shape, 2.0**size)
    found = narrowed(tensor(value, np.square(sigma), np.zeros((64, 0, 1, 1))))
    error = sigma * rng.uniform(-8, 8, value.shape)
    became = np.abs(rounded(value + error) - found.value)
    assert (became <= 8 * np.sqrt(found.result.variance)).all()


NET = """
Config
Input ToTensor=x Channels=5 Height=3 Width=4
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=1 FilterW=1
Output FromTensor=y
"""


def arrays(graph: Graph, seed: int) -> tuple[dict[str, Single], Single]:
    rng = np.random.default_rng(seed)
    params = {p.name: rng.standard_normal(p.shape).astype(np.float32) for p in graph.parameters}
    return params, rng.standard_normal(graph.shapes["x"]).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_layer_multiplies_what_it_rounded(seed: int) -> None:
    graph = parse(NET)
    params, x = arrays(graph, seed)
    found = reference.run(graph, params, {"x": x}, rounding={"y": BFLOAT16})["y"]
    weights, read = rounded(params["yWeights"].astype(np.float64))[:, :, 0, 0], rounded(x.astype(np.float64))
    wanted = np.einsum("kc,chw->khw", weights, read) + params["yBiases"].astype(np.float64)[:, None, None]
    assert np.allclose(found.value, wanted, rtol=1e-14, atol=1e-14)
    # No error but that of float32: cutting off instead of rounding is hundreds of sigma away.
    assert np.sqrt(found.variance).max() < 1e-6
    plain = reference.run(graph, params, {"x": x})["y"]
    assert (np.abs(plain.value - found.value) / np.sqrt(found.variance)).max() > 1000


def test_weights_with_a_batch_norm_have_the_errors_of_their_format() -> None:
    graph = parse(NET)
    params, x = arrays(graph, 1)
    found = reference.run(graph, params, {"x": x}, rounding={"y": FOLDED_BFLOAT16})["y"]
    sharp = reference.run(graph, params, {"x": x}, rounding={"y": BFLOAT16})["y"]
    off = np.abs(found.value - sharp.value) / np.sqrt(found.variance)
    assert 0.1 < off.max() < 4


def test_exactness_is_that_of_what_is_rounded() -> None:
    """257 becomes 256, and is no less exact for that; only subnormal sums, which are zeros, promise nothing."""
    graph = parse(NET)
    params, x = arrays(graph, 0)
    for array in (*params.values(), x):
        array[...] = np.rint(array * 300)
    x[0, 0, 0] = 257.0
    given_ = {"x": x}
    assert reference.exactness(graph, params, given_, rounding={"y": BFLOAT16})["y"].all()
    small = {
        "yWeights": params["yWeights"] * np.float32(2.0**-70),
        "yBiases": params["yBiases"] * np.float32(2.0**-140),
    }
    tiny = {"x": x * np.float32(2.0**-70)}
    assert reference.exactness(graph, small, tiny)["y"].any()
    assert not reference.exactness(graph, small, tiny, rounding={"y": BFLOAT16})["y"].any()


def test_nothing_is_promised_where_rounding_overflows() -> None:
    graph = parse(NET)
    params, x = arrays(graph, 0)
    params = {name: array * np.float32(1e-9) for name, array in params.items()}
    x[0, 0, 0] = np.float32(2.0**128 * (1 - 2.0**-10))
    found = reference.run(graph, params, {"x": x}, rounding={"y": BFLOAT16})["y"]
    assert found.unspecified[:, 0, 0].all()
    assert not found.unspecified[:, 1:].any()


TILES = """
Config
Input ToTensor=x Channels=5 Height=4 Width=4
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=3 FilterW=3
Output FromTensor=y
"""
TRANSFORM = cook_toom(2, 3)
TILED = replace(BFLOAT16, tiles=winograd(TRANSFORM, TRANSFORM))
TILED_FOLDED = replace(FOLDED_BFLOAT16, tiles=winograd(TRANSFORM, TRANSFORM))


def transformed(matrix: Matrix, x: Array | Single) -> Array:
    """Along both axes, which are the last ones."""
    floats = np.array([[float(entry) for entry in row] for row in matrix])
    return np.asarray(floats @ x.astype(np.float64) @ floats.T)


@pytest.mark.parametrize("seed", range(3))
def test_tiles_multiply_what_they_rounded_behind_the_transform(seed: int) -> None:
    graph = parse(TILES)
    params, x = arrays(graph, seed)
    found = reference.run(graph, params, {"x": x}, rounding={"y": TILED})["y"]
    factors = rounded(transformed(TRANSFORM.inputs, x))
    weights = rounded(transformed(TRANSFORM.weights, params["yWeights"]))
    sums = transformed(TRANSFORM.results, np.einsum("kcij,cij->kij", weights, factors))
    wanted = sums + params["yBiases"].astype(np.float64)[:, None, None]
    assert np.allclose(found.value, wanted, rtol=1e-13, atol=1e-13)
    # No error but that of float32: rounding twice is hundreds of sigma away, and so is rounding what is read.
    assert np.sqrt(found.variance).max() < 1e-5
    for other in (None, BFLOAT16):
        plain = reference.run(graph, params, {"x": x}, rounding={} if other is None else {"y": other})["y"]
        assert (np.abs(plain.value - found.value) / np.sqrt(found.variance)).max() > 500
    folded = reference.run(graph, params, {"x": x}, rounding={"y": TILED_FOLDED})["y"]
    assert 0.1 < (np.abs(folded.value - found.value) / np.sqrt(folded.variance)).max() < 4


def test_a_transformed_input_beside_a_middle_may_be_either_number() -> None:
    """Of one channel a cell is moved so that a transformed input comes to a tie: an error of half its spacing."""
    graph = parse(TILES)
    params, x = arrays(graph, 0)
    x[0] = 0
    x[0, 1, 1] = 257  # of the position 1, 1 all of it: 257 is the middle between 256 and 258
    found = reference.run(graph, params, {"x": x}, rounding={"y": TILED})["y"]
    factors = rounded(transformed(TRANSFORM.inputs, x))
    assert factors[0, 1, 1] == 256
    weight = np.abs(transformed(TRANSFORM.weights, params["yWeights"])[:, 0, 1, 1])
    assert (np.sqrt(found.variance).min(axis=(1, 2)) > 0.9 * weight).all()


def test_errors_from_before_are_those_of_direct_sums_where_nothing_flips() -> None:
    size = 2.0**-30
    value = np.full((1, 1, 1), 1.0)
    assert flips(value, np.full((1, 1, 1), size**2)).item() == 0
    assert flips(value + 2.0**-8, np.full((1, 1, 1), size**2)).item() == 2.0**-16
    assert flips(value, np.full((1, 1, 1), 0.25)).item() == (2.0**-5 / 2) ** 2  # 8 sigma from 1 are 4, of spacing 2^-5
    assert flips(0 * value, np.full((1, 1, 1), 0.25)).item() == (2.0**-5 / 2) ** 2


def test_exactness_of_tiles_is_that_of_numbers_that_fit() -> None:
    """Sums of four cells must fit in 8 bits, and weights that are divided by four."""
    graph = parse(TILES)
    rng = np.random.default_rng(0)
    params = {p.name: rng.integers(-3, 4, p.shape).astype(np.float32) for p in graph.parameters}
    x = rng.integers(-9, 10, graph.shapes["x"]).astype(np.float32)
    for rounding in (TILED, TILED_FOLDED):
        assert reference.exactness(graph, params, {"x": x}, rounding={"y": rounding})["y"].all()
        large = params["yWeights"].copy()
        large[1, 0, 0, 0] = 257
        found = reference.exactness(graph, {**params, "yWeights": large}, {"x": x}, rounding={"y": rounding})["y"]
        assert found.all(axis=(1, 2)).tolist() == [True, False, True]
        other = x.copy()
        other[2, 1, 1] = 257
        assert not reference.exactness(graph, params, {"x": other}, rounding={"y": rounding})["y"].any()
        small = {name: array * np.float32(2.0**-66) for name, array in params.items()}
        tiny = {"x": x * np.float32(2.0**-66)}
        small["yBiases"][:] = 0
        assert not reference.exactness(graph, small, tiny, rounding={"y": rounding})["y"].any()
