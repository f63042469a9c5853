"""Systems that store tensors in bfloat16: they err about as the reference says, and faults are larger."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import reference
from nn512.graph import parse
from reference import bfloat16

Array = npt.NDArray[np.float64]

ERROR = 2.0**-8
LAYERS = 6
NET = parse(
    "Config\nInput ToTensor=t0 Channels=24 Height=6 Width=7\n"
    + "".join(
        f"Conv FromTensor=t{n} ToTensor=c{n} ToChannels=24 FilterH=1 FilterW=1\n"
        f"Activation FromTensor=c{n} ToTensor=t{n + 1} Kind=ReLU\n"
        for n in range(LAYERS)
    )
    + f"Output FromTensor=t{LAYERS}\n"
)
WEIGHTS = reference.Rounding(weight_error=ERROR, weight_floor=2.0**-118)


def data(seed: int) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Parameters of the net, and its input."""
    rng = np.random.default_rng(seed)
    shapes = {p.name: p.shape for p in NET.parameters}
    params = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return params, rng.standard_normal((24, 6, 7)).astype(np.float32)


def in_bfloat16(params: dict[str, npt.NDArray[np.float32]], x: npt.NDArray[np.float32]) -> Array:
    """The net as a system computes it that stores weights, and all that layers hand on, in bfloat16."""
    y = bfloat16.rounded(x.astype(np.float64))
    for n in range(LAYERS):
        weights = bfloat16.rounded(params[f"c{n}Weights"].astype(np.float64))[:, :, 0, 0]
        sums = np.einsum("kc,chw->khw", weights, y) + params[f"c{n}Biases"][:, np.newaxis, np.newaxis]
        y = bfloat16.rounded(np.maximum(sums, 0))
    return y


def sigmas(computed: Array, params: dict[str, npt.NDArray[np.float32]], x: npt.NDArray[np.float32]) -> Array:
    """By how many sigma the net's output is off."""
    rounding = {f"c{n}": WEIGHTS for n in range(LAYERS)}
    want = reference.run(NET, params, {"t0": x}, rounding=rounding, tensor_error=ERROR)[f"t{LAYERS}"]
    return np.asarray(np.abs(computed - want.value) / np.sqrt(want.variance))


@pytest.mark.parametrize("seed", range(3))
def test_a_net_in_bfloat16_errs_as_the_reference_says(seed: int) -> None:
    params, x = data(seed)
    off = sigmas(in_bfloat16(params, x), params, x)
    assert off.max() < 6
    assert 0.2 < np.sqrt(np.square(off).mean()) < 1.2


def test_a_weight_that_is_missing_is_no_rounding() -> None:
    params, x = data(0)
    broken = {name: array.copy() for name, array in params.items()}
    broken[f"c{LAYERS - 1}Weights"][:, 3] = 0
    assert sigmas(in_bfloat16(broken, x), params, x).max() > 12


def test_what_is_not_finite_is_stored_as_it_is_and_what_is_subnormal_may_be_lost() -> None:
    graph = parse(
        "Config\nInput ToTensor=x Channels=1 Height=1 Width=4\n"
        "Activation FromTensor=x ToTensor=y Kind=ReLU\nOutput FromTensor=y\n"
    )
    x = np.array([[[np.inf, np.nan, 1e-39, 1.0]]], np.float32)
    plain, stored = (reference.run(graph, {}, {"x": x}, keep="x", tensor_error=error)["x"] for error in (0.0, ERROR))
    assert np.array_equal(stored.value, x, equal_nan=True)
    assert not stored.unspecified.any()
    assert not plain.variance.any()
    infinite, strange, subnormal, one = np.sqrt(3 * stored.variance).ravel()
    assert infinite == strange == 0
    assert subnormal > 1e-39
    assert one == pytest.approx(ERROR)


def test_equal_elements_err_alike() -> None:
    """So that what a sum of them errs by is not taken for what independent errors would come to."""
    graph = parse(
        "Config\nInput ToTensor=x Channels=64 Height=1 Width=1\n"
        "Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=1 FilterW=1\nOutput FromTensor=y\n"
    )
    params = {"yWeights": np.ones((1, 64, 1, 1), np.float32), "yBiases": np.zeros(1, np.float32)}
    own = []
    for x in (np.full(64, 0.3), np.random.default_rng(0).uniform(0.25, 0.35, 64)):
        given = {"x": x.reshape(64, 1, 1).astype(np.float32)}
        y = reference.run(graph, params, given, tensor_error=ERROR)["y"]
        own.append((y.variance - np.square(ERROR * y.value) / 3).item())  # without what storing the sum does
    assert own[0] > 30 * own[1]
