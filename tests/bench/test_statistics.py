"""Statistics, processors, profiles and agreement: what a measurement is made of besides time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import nn512
from nn512.bench.agreement import DisagreementError, agree, logit_error, relative_error
from nn512.bench.layers import join, parse_profile, per_inference, prediction_error
from nn512.bench.machine import choose_cpus, parse_cpu_list, pick_cpus, processor_name
from nn512.bench.measuring import turns
from nn512.bench.spread import quantile, ratio_by_round, spread
from nn512.errors import InternalError, UsageError
from nn512.plan.plan import Plan

VALUES = st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20)

NET = "Config Input ToTensor=x Channels=1 Height=1 Width=1 Softmax FromTensor=x ToTensor=y Output FromTensor=y"


def small_plan() -> Plan:
    """A plan with a layer that computes, and one that does not and is expected to take no time."""
    plan = nn512.compile(NET).plan
    work = {"mmac": 2.0, "weight_bytes": 4000, "predicted_microseconds": 30.0, "kernel": "direct"}
    first = dataclasses.replace(plan.layers[0], name="a", **work)  # type: ignore[arg-type]
    second = dataclasses.replace(plan.layers[0], name="b", predicted_microseconds=0.0, kernel="pooling")
    return dataclasses.replace(plan, layers=(first, second))


@given(VALUES, st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == pytest.approx(np.quantile(values, share))


@given(VALUES)
def test_spread_is_ordered(values: list[float]) -> None:
    found = spread(values)
    assert found.least <= found.lower <= found.median <= found.upper
    assert found.count == len(values)
    assert found.scaled(2.0).upper == 2 * found.upper


def test_spread_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_do_not_feel_what_slows_whole_rounds() -> None:
    ours = [[10.0, 11.0, 10.0], [100.0, 100.0, 100.0], [10.0, 10.0, 99.0]]
    theirs = [[20.0, 20.0, 20.0], [200.0, 201.0, 100.0], [20.0, 99.0, 20.0]]
    assert ratio_by_round(theirs, ours).median == 2.0


def test_every_turn_begins_and_ends_with_each() -> None:
    workers: Any = ["a", "b", "c"]
    rounds = [turns(workers, number) for number in range(6)]
    assert all(len(order) == 3 and set(order) == set(workers) for order in rounds)
    assert {order[0] for order in rounds} == {order[-1] for order in rounds} == set(workers)


def test_cpus_on_cores_of_their_own_come_first() -> None:
    siblings = {0: {0, 4}, 4: {0, 4}, 1: {1, 5}, 5: {1, 5}}
    assert pick_cpus(2, [0, 4, 1, 5], siblings) == (0, 1)
    assert pick_cpus(3, [0, 4, 1, 5], siblings) == (0, 1, 4)
    assert pick_cpus(2, [4, 5, 0], siblings) == (0, 5)


def test_threads_need_processors() -> None:
    assert len(choose_cpus(1)) == 1
    for threads in (0, 100_000):
        with pytest.raises(UsageError, match="--threads must be from 1 to"):
            choose_cpus(threads)


def test_cpu_lists() -> None:
    assert parse_cpu_list("3") == {3}
    assert parse_cpu_list("0-2,8,10-11") == {0, 1, 2, 8, 10, 11}


def test_processor_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Some   CPU\nmodel name\t: Other\n"
    )
    assert processor_name(cpuinfo) == "Some CPU, family 6 model 85"
    assert processor_name(tmp_path / "missing")


def test_layers_join_profile_and_plan() -> None:
    before, after = ["a\t3\t1000", "b\t3\t0"], ["a\t5\t41000", "b\t5\t0"]
    measured = per_inference(before, after, 2)
    assert measured == [("a", 20_000.0), ("b", 0.0)]
    first, second = join(small_plan(), [measured, measured])
    assert (first.microseconds.median, first.gflops, first.predicted_over_measured) == (20.0, 200.0, 1.5)
    assert first.weight_gigabytes_per_second == 0.2
    assert second.predicted_over_measured == 0
    assert second.microseconds.median > 0  # less than the clock shows is no division by zero
    assert prediction_error([first, second]) == 0.75
    assert prediction_error([]) is None


@pytest.mark.parametrize("line", ["a", "a\t1", "a\t1\t-5", "a\t1\tx", "a\t1\t2\t3"])
def test_broken_profiles(line: str) -> None:
    with pytest.raises(InternalError, match="profile"):
        parse_profile([line])


def test_profile_of_other_layers() -> None:
    with pytest.raises(InternalError, match="other layers"):
        join(small_plan(), [[("a", 1.0)]])
    with pytest.raises(InternalError, match="other layers"):
        per_inference(["a\t0\t0"], ["b\t1\t5"], 1)


def test_agreement_names_who_is_wrong() -> None:
    expected = {"y": np.array([[[1.0, -4.0]]]), "z": np.array([[[2.0]]])}
    close = {"y": np.array([[[1.001, -4.0]]]), "z": np.array([[[2.0]]])}
    assert agree(expected, {"ours": close}, {"ours": 1e-3}).errors["ours"] == pytest.approx(0.001 / 4)
    off = {**close, "z": np.array([[[2.004]]])}
    with pytest.raises(DisagreementError, match=r"theirs by 0\.002") as caught:
        agree(expected, {"ours": close, "theirs": off}, {"ours": 1e-3, "theirs": 1e-3})
    assert "ours by" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_does_not_agree(value: float) -> None:
    assert relative_error(np.ones(2), np.array([1.0, value])) == np.inf
    with pytest.raises(DisagreementError, match="not finite"):
        agree({"y": np.array([value])}, {}, {})


def test_agreeing_on_zeros_shows_nothing() -> None:
    with pytest.raises(DisagreementError, match="all zeros"):
        agree({"y": np.zeros(3)}, {"ours": {"y": np.zeros(3)}}, {"ours": 1e-3})


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


@pytest.mark.parametrize("largest", [2.0, 30.0])
def test_probabilities_are_compared_as_logits(largest: float) -> None:
    logits = largest * np.array([1.0, -1.0, 0.9, 0.0])
    off = softmax(logits + 0.01 * largest * np.array([0, 0, 0, 1]))
    assert logit_error(softmax(logits), off) == pytest.approx(0.01, rel=0.1)  # the sum of all takes a part
    assert agree({"p": softmax(logits)}, {"ours": {"p": off}}, {"ours": 0.02}, {"p"}).errors["ours"] > 0.009
    wrong = softmax(np.roll(logits, 1))
    with pytest.raises(DisagreementError, match="ours by"):
        agree({"p": softmax(logits)}, {"ours": {"p": wrong}}, {"ours": 0.02}, {"p"})


def test_probabilities_of_next_to_nothing_do_not_count() -> None:
    logits = np.array([0.0, -1.0, -80.0])
    assert logit_error(softmax(logits), np.array([*softmax(logits)[:2], 0.0])) < 1e-12
    off = softmax(logits + np.array([0.0, 4.0, 0.0]))
    assert logit_error(softmax(logits), off) == pytest.approx(4 / 40, rel=0.5)  # but they are logits, too


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5])
def test_what_is_no_probability_does_not_agree(value: float) -> None:
    assert logit_error(np.array([0.5, 0.5]), np.array([0.5, value])) == np.inf


def test_what_is_likely_and_should_not_be_does_not_agree() -> None:
    """Nor the other way round."""
    one, both = np.array([1.0, 1e-200]), np.array([0.7, 0.3])
    assert logit_error(one, both) > 0.2
    assert logit_error(both, np.array([1.0, 0.0])) > 10


def test_logits_next_to_nothing_are_compared_as_they_are() -> None:
    assert logit_error(softmax(np.array([0.0, 1e-9])), softmax(np.array([1e-9, 0.0]))) < 1e-8
