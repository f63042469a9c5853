"""Verdicts: bugs are seen in every kind of data, correct float32 arithmetic never is, and nothing passes vacuously."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import reference
from fuzz.draw import regimes
from fuzz.judge.compare import Outcome, Verdict, judge
from fuzz.judge.limits import LIMITS, limit_of
from nn512.errors import UsageError
from nn512.graph import Graph, parse

DIRECT = LIMITS["direct"]
CONV = parse(
    "Config Input ToTensor=x Channels=33 Height=7 Width=9 "
    "Conv FromTensor=x ToTensor=y ToChannels=17 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Output FromTensor=y"
)


def verdict(
    got: object, value: object, variance: object = 0.0, *, unspecified: object = False, exact: object = False
) -> Verdict:
    wanted = np.asarray(value, np.float64).reshape(-1, 1, 1)

    def fill(array: object, dtype: type) -> NDArray[np.generic]:
        return np.broadcast_to(np.asarray(array, dtype).reshape(-1, 1, 1), wanted.shape)

    return judge(
        "y",
        np.asarray(got, np.float32).reshape(-1, 1, 1),
        wanted,
        fill(variance, np.float64),  # type: ignore[arg-type]
        fill(unspecified, np.bool_),  # type: ignore[arg-type]
        fill(exact, np.bool_),  # type: ignore[arg-type]
        DIRECT,
    )


def test_equal_where_equality_is_demanded_is_exact() -> None:
    assert verdict([1, 2], [1, 2]).outcome is Outcome.EXACT
    assert verdict([1, 2], [1, 2], 1.0, exact=True).outcome is Outcome.EXACT


def test_negative_zero_equals_zero() -> None:
    assert verdict([1, -0.0], [1, 0.0], exact=True).outcome is Outcome.EXACT


def test_an_exact_element_that_differs_is_wrong_whatever_its_variance() -> None:
    result = verdict([1, 2 + 2**-22], [1, 2], 1.0, exact=[False, True])
    assert result.outcome is Outcome.WRONG
    assert result.worst == (1, 0, 0)
    assert "expected 2 exactly" in str(result)


def test_errors_are_measured_in_sigma() -> None:
    result = verdict([1.5, 3.0], [1.0, 2.0], [0.25, 1.0])
    assert result.outcome is Outcome.WITHIN
    assert result.max_sigma == pytest.approx(1.0)
    assert result.rms_sigma == pytest.approx(1.0)
    assert verdict([1 + 1.01 * DIRECT.maximum], [1.0], 1.0).outcome is Outcome.WRONG
    assert verdict([1 + 0.99 * DIRECT.maximum], [1.0], 1.0).outcome is Outcome.WITHIN


def test_many_moderate_errors_are_wrong_together() -> None:
    values = np.arange(1.0, 1 + DIRECT.rms_from)
    off = values + 0.99 * DIRECT.maximum
    assert verdict(off, values, 1.0).outcome is Outcome.WRONG
    assert verdict(off[:-1], values[:-1], 1.0).outcome is Outcome.WITHIN
    assert verdict(np.full(off.size, off[0]), np.ones(off.size), 1.0).outcome is Outcome.WITHIN, "one error, many times"


@pytest.mark.parametrize(
    ("got", "value"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, np.inf), (-np.inf, np.inf), (np.inf, np.nan)]
)
def test_nonfinite_elements_must_agree(got: float, value: float) -> None:
    result = verdict([got, 1.0], [value, 1.0], 1e9)
    assert result.outcome is Outcome.WRONG
    assert result.worst == (0, 0, 0)
    assert verdict([value, 1.0], [value, 1.0], 1e9).ok


def test_unspecified_elements_may_be_anything() -> None:
    assert verdict([np.nan, 1.0], [5.0, 1.0], unspecified=[True, False]).outcome is Outcome.EXACT


def test_nothing_compared_is_vacuous() -> None:
    assert verdict([7.0], [5.0], unspecified=True).outcome is Outcome.VACUOUS


def test_zeros_everywhere_are_vacuous_but_not_beyond_suspicion() -> None:
    assert verdict([0.0, 0.0], [0.0, 0.0]).outcome is Outcome.VACUOUS
    assert verdict([0.0, 1e-30], [0.0, 0.0]).outcome is Outcome.WRONG


def test_other_shapes_are_refused() -> None:
    zeros = np.zeros((1, 3, 2))
    with pytest.raises(ValueError, match="shape"):
        judge("y", np.zeros((1, 2, 3), np.float32), zeros, zeros, zeros > 0, zeros > 0, DIRECT)


def float32_conv(data: regimes.DataSet, order: NDArray[np.intp]) -> NDArray[np.float32]:
    """The convolution of CONV in float32, one tap after the other in the given order."""
    x = np.pad(data.inputs["x"], ((0, 0), (1, 1), (1, 1)))
    weights = data.params["yWeights"]
    sums = np.broadcast_to(data.params["yBiases"][:, None, None], (17, 7, 9)).copy()
    taps = [(c, i, j) for c in range(33) for i in range(3) for j in range(3)]
    with np.errstate(invalid="ignore"):
        for c, i, j in (taps[k] for k in order):
            sums += weights[:, c, i, j, None, None] * x[c, i : i + 7, j : j + 9]
    assert sums.dtype == np.float32
    return sums


def judge_conv(graph: Graph, data: regimes.DataSet, got: NDArray[np.float32]) -> Verdict:
    result = reference.run(graph, data.params, data.inputs)["y"]
    exact = np.zeros(got.shape, np.bool_)
    if data.regime in regimes.EXACT_REGIMES:
        exact = reference.exactness(graph, data.params, data.inputs)["y"]
        assert exact.all()
    return judge("y", got, result.value, result.variance, result.unspecified, exact, DIRECT)


FINITE = sorted(set(regimes.REGIMES) - {"nan", "infinite"})
"""Regimes after which there is anything to compare: the others spoil every output of a convolution."""


@pytest.mark.parametrize("regime", FINITE)
def test_float32_arithmetic_in_any_order_is_no_false_alarm(regime: str) -> None:
    outcomes = set()
    for seed in range(8):
        data = regimes.draw(CONV, regime, seed)
        order = np.random.default_rng(seed).permutation(33 * 9)
        result = judge_conv(CONV, data, float32_conv(data, order))
        assert result.ok, str(result)
        assert result.max_sigma < DIRECT.maximum / 2
        outcomes.add(result.outcome)
    assert outcomes == {Outcome.EXACT if regime in regimes.EXACT_REGIMES else Outcome.WITHIN}


@pytest.mark.parametrize("regime", sorted(set(FINITE) - {"taps"}))
def test_a_dropped_tap_is_wrong(regime: str) -> None:
    data = regimes.draw(CONV, regime, 1)
    seen = 0
    rng = np.random.default_rng(0)
    for _ in range(10):
        c, i, j = rng.choice(np.argwhere(data.params["yWeights"].any(axis=0)))
        if regime == "impulse":  # only the channel of the impulse shows anything
            c = np.argwhere(data.inputs["x"])[0, 0]
        weights = data.params["yWeights"].copy()
        weights[:, c, i, j] = 0
        broken = regimes.DataSet(regime, 1, {**data.params, "yWeights": weights}, data.inputs)
        seen += not judge_conv(CONV, data, float32_conv(broken, np.arange(33 * 9))).ok
    # An impulse in a corner does not meet every tap.
    assert seen >= (3 if regime == "impulse" else 10)


def test_single_taps_show_every_wrong_tap() -> None:
    """In the regime `taps` each output is one product: a filter read one tap off is wrong everywhere."""
    data = regimes.draw(CONV, "taps", 0)
    weights = np.roll(data.params["yWeights"], 1, axis=3)
    broken = regimes.DataSet("taps", 0, {**data.params, "yWeights": weights}, data.inputs)
    result = judge_conv(CONV, data, float32_conv(broken, np.arange(33 * 9)))
    assert result.wrong > result.compared // 2


def test_limits_of_several_algorithms_are_the_widest() -> None:
    assert limit_of([]).maximum == DIRECT.maximum
    assert limit_of(["direct", "direct"]).exact_steps == DIRECT.exact_steps
    with pytest.raises(UsageError, match="direct"):
        limit_of(["astrology"])
