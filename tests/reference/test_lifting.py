"""How large scaled weights, and sums of their products, become."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from nn512.graph import parse
from reference import lifting
from reference.accumulation import Affine
from reference.windows import Array


def scaled(weights: Array) -> Array:
    """As packing does it: by the power of two nearest 1 that brings the smallest to 2^-14, if the largest stays."""
    exponents = [math.frexp(abs(weight))[1] - 1 for weight in weights if weight]
    if not exponents:
        return weights
    return weights * 2.0 ** min(max(-14 - min(exponents), 0), 14 - max(exponents))


@given(st.lists(st.floats(-40, 40).map(lambda e: 2.0**e) | st.just(0.0), min_size=1, max_size=9))
def test_no_stored_weight_is_larger_than_said(weights: list[float]) -> None:
    row = np.array(weights)
    most, known = np.abs(scaled(row)), lifting.stored(row)
    assert (most <= known).all()
    assert (known <= 4 * most).all()
    assert known.max() <= lifting.LARGEST


def test_a_weight_that_is_not_known_may_lift_the_others_as_far_as_they_go() -> None:
    row = np.array([1.0, 1e-14])
    assert lifting.stored(row, np.array([0.0, 1e-12]))[0] == lifting.LARGEST
    np.testing.assert_array_equal(lifting.stored(np.array([1.0, 0.5])), [1.0, 0.5])


def test_a_norm_that_may_be_folded_in_is_a_second_way() -> None:
    x, weights = np.ones((4, 1, 1)), np.arange(1.0, 9.0).reshape(4, 2, 1, 1)
    norm = Affine(3 * x, np.array([1.0, 2.0, 4.0, 8.0]).reshape(4, 1, 1))
    (same, _), (operand, folded) = lifting.ways(x, norm, weights)
    assert same is x
    np.testing.assert_array_equal(operand, 3 * x)
    np.testing.assert_array_equal(folded.reshape(4, 2), [[1, 4], [3, 8], [20, 48], [28, 64]])
    assert len(list(lifting.ways(x, None, weights))) == 1


@pytest.mark.parametrize("small", [1.0, 2.0**-30])
@pytest.mark.parametrize("kind", ["Conv", "FullyConnected"])
def test_sums_that_may_overflow_before_the_scale_is_taken_back_are_unspecified(kind: str, small: float) -> None:
    size = " FilterH=1 FilterW=1" if kind == "Conv" else ""
    graph = parse(
        "Config Prefix=Net\nInput ToTensor=x Channels=2 Height=1 Width=1\n"
        f"{kind} FromTensor=x ToTensor=y ToChannels=1{size}\nOutput FromTensor=y\n"
    )
    params = {"yWeights": np.array([1.0, small], np.float32).reshape(1, 2, 1, 1), "yBiases": np.zeros(1, np.float32)}
    x = np.array([1e35, 0], np.float32).reshape(2, 1, 1)
    for rounding, is_open in ((reference.Rounding(), False), (reference.HALF_WEIGHTS, small < 1)):
        result = reference.run(graph, params, {"x": x}, rounding={"y": rounding})["y"]
        assert result.unspecified.item() is is_open
