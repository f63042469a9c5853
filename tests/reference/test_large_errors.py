"""The variance of softmax and norms where the errors of what they read are large."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import reference
from nn512.graph import Activation, parse
from nn512.graph.nodes import ACTIVATIONS
from reference import functions, normalized
from reference.grid import CERTAIN
from reference.kinds import softmax
from reference.kinds.mul import MulKind


@given(st.integers(2, 9), st.integers(0, 2**32))
def test_any_value_within_errors_is_within_limits(channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((channels, 1, 5)) * 30
    sigma = np.exp(rng.uniform(-2, 4, x.shape))
    y = softmax.value(x)
    allowed = CERTAIN * np.sqrt(softmax.variance(x, np.square(sigma), y))
    for _ in range(10):
        other = softmax.value(x + sigma * rng.uniform(-8, 8, x.shape))
        assert (np.abs(other - y) <= allowed * (1 + 1e-9)).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_what_no_float_tells_apart_may_be_either(channels: int) -> None:
    x = 2e31 + 1e24 * np.arange(channels, dtype=np.float64).reshape(-1, 1, 1)
    y = softmax.value(x)
    variance = softmax.variance(x, np.full_like(x, 3e24**2), y)
    assert set(y.ravel()) == {0.0, 1.0} or channels == 1
    np.testing.assert_allclose(np.sqrt(variance.ravel()), 0.0 if channels == 1 else 1 / CERTAIN, atol=1e-6)


def test_small_errors_act_linearly() -> None:
    x = np.array([0.0, 1.0, 2.0]).reshape(-1, 1, 1)
    y = softmax.value(x)
    linear = softmax.variance(x, np.full_like(x, 1e-8), y) - softmax.variance(x, np.zeros_like(x), y)
    jacobian = np.diag(y.ravel()) - np.outer(y.ravel(), y.ravel())
    np.testing.assert_allclose(linear.ravel(), np.square(jacobian).sum(axis=1) * 1e-8, rtol=2e-3)


@given(st.integers(2, 6), st.sampled_from(("layer", "rms")), st.integers(0, 2**32))
def test_a_norm_of_uncertain_channels_is_within_limits(channels: int, kind: str, seed: int) -> None:
    """Softmax may hand on channels that nothing is known of: their norm may be anything, whatever the Jacobian says."""
    rng = np.random.default_rng(seed)
    x, epsilon, centred = rng.standard_normal((channels, 1, 5)), 1e-5, kind == "layer"
    sigma = np.exp(rng.uniform(-9, 1, x.shape))
    z, errors, _ = normalized.errors_of(x, np.square(sigma), epsilon, centred=centred)
    allowed = 12 * np.sqrt(np.minimum(errors.read + errors.mean + np.square(z) * errors.factor, channels))
    for _ in range(10):
        other, *_ = normalized.errors_of(x + sigma * rng.uniform(-3, 3, x.shape), sigma, epsilon, centred=centred)
        assert (np.abs(other - z) <= allowed).all()


@example("Exp", 31, 2.5e24, 0)
@given(st.sampled_from(ACTIVATIONS), st.integers(0, 36), st.floats(-120, 900), st.integers(0, 2**32))
@settings(max_examples=400)
def test_a_function_of_what_is_not_known_is_within_limits_or_open(kind: str, size: int, near: float, seed: int) -> None:
    """The operand is what is left of two numbers of size 10^`size`: off by their roundings."""
    fields = {"Clip": " Min=-1 Max=2", "HardSigmoid": " Alpha=0.25 Beta=0.5"}.get(kind, "")
    graph = parse(
        "Config Prefix=Net\nInput ToTensor=x Channels=1 Height=1 Width=1\nBatchNorm FromTensor=x ToTensor=n Epsilon=0\n"
        f"Activation FromTensor=n ToTensor=y Kind={kind}{fields}\nOutput FromTensor=y\n"
    )
    large = np.float32(1.7 * 10.0**size)
    params = {
        "nMeans": 0.0,
        "nVariances": 1.0,
        "nScales": 1.0,
        "nShifts": float(np.float32(near - float(large))),
        **({"ySlopes": 0.25} if kind == "PReLU" else {}),
    }
    one = np.ones(1, np.float32)
    x = np.full((1, 1, 1), large)
    done = reference.run(graph, {name: one * np.float32(v) for name, v in params.items()}, {"x": x}, keep=["n", "y"])
    operand, y = done["n"], done["y"]
    if y.unspecified.any():
        return
    off = np.random.default_rng(seed).uniform(-3, 3, 20) * np.sqrt(operand.variance.item())
    node = graph.layers[1]
    assert isinstance(node, Activation)
    function = functions.function_of(node).with_parameters(lambda _: np.full(1, 0.25))
    with np.errstate(all="ignore"):
        others = function.value(operand.value + off.reshape(1, 1, -1), node)
        same = (others == y.value) | (np.isnan(others) & np.isnan(y.value))
        assert np.all(same | (np.abs(others - y.value) <= 12 * np.sqrt(y.variance) * (1 + 1e-9)))


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(-5, 5), st.integers(-5, 5))
def test_a_product_of_two_errors_is_within_limits(x1: float, x2: float, off1: int, off2: int) -> None:
    """What is 0 and may be off by 5 sigma, times another such number."""
    factors, off = np.array([x1, x2]).reshape(2, 1, 1, 1), np.array([off1, off2]).reshape(2, 1, 1, 1)
    one = np.ones((1, 1, 1))
    variance = MulKind().variance(factors[0], factors[1], (one, one), correlated=False)
    assert abs(np.prod(factors + off) - np.prod(factors)) <= 12 * np.sqrt(variance.item())
