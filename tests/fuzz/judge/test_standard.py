"""What roundings have in common is looked at where a verdict depends on it, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from fuzz.case import Case
from fuzz.draw.regimes import DataSet, draw
from fuzz.judge import standard
from fuzz.judge.clock import Clock
from fuzz.judge.compare import Outcome
from fuzz.judge.report import Report
from fuzz.judge.steps import Steps, nobody
from fuzz.targets import OURS, Sources
from nn512.graph import parse
from nn512.options import Options

LAYERS = 8
NET = (
    "Config\nInput ToTensor=t0 Channels=4 Height=5 Width=5\n"
    + "".join(f"Conv FromTensor=t{n} ToTensor=t{n + 1} ToChannels=4 FilterH=1 FilterW=1\n" for n in range(LAYERS))
    + f"Output FromTensor=t{LAYERS}\n"
)
OUTPUT = f"t{LAYERS}"


def report() -> Report:
    return Report(Case(NET), parse(NET), "none")


def one_sided() -> DataSet:
    """Data of which the errors of all elements have much in common, which widens their variance."""
    found = draw(report().graph, "positive", 3)
    params = {name: np.abs(array) for name, array in found.params.items()}
    return DataSet(found.regime, found.seed, params, found.inputs)


def told(patch: pytest.MonkeyPatch) -> list[str]:
    """What the reference is asked for from now on."""
    asked, run = [], reference.run

    def asking(*arguments: object, independent: bool, **named: object) -> dict[str, reference.Result]:
        asked.append("independent" if independent else "all")
        return run(*arguments, independent=independent, **named)  # type: ignore[arg-type]

    patch.setattr(reference, "run", asking)
    return asked


def off_by(sigmas: float) -> tuple[standard.Standard, Outcome, list[str]]:
    """What is judged of results of which one is so many sigma off that are derived; and what was evaluated for it."""
    data = one_sided()
    result = reference.run(report().graph, data.params, data.inputs, independent=True)[OUTPUT]
    got = result.value.astype(np.float32)
    got[1, 2, 3] = result.value[1, 2, 3] + sigmas * np.sqrt(result.variance[1, 2, 3])

    with pytest.MonkeyPatch.context() as patch:
        asked = told(patch)
        steps = Steps(nobody, 1, LAYERS, Clock("run"))
        kept, (verdict,) = standard.judged(report(), data, {OUTPUT: got}, [OUTPUT], steps, 0)
    return kept, verdict.outcome, asked


def test_what_is_far_below_the_limits_needs_no_second_look() -> None:
    _, outcome, asked = off_by(4.0)
    assert (outcome, asked) == (Outcome.WITHIN, ["independent"])


def test_nothing_is_wrong_before_all_is_looked_at() -> None:
    """Of independent errors it is 14 sigma, beyond the limit of 12; of those with something in common it is less."""
    kept, outcome, asked = off_by(14.0)
    assert (outcome, asked) == (Outcome.WITHIN, ["independent", "all"])
    data = one_sided()
    derived = reference.run(report().graph, data.params, data.inputs, independent=True)[OUTPUT].variance
    assert kept.expected[OUTPUT].variance[1, 2, 3] > (14 / 12) ** 2 * derived[1, 2, 3]


def test_what_is_near_a_limit_is_judged_by_all() -> None:
    assert off_by(7.0)[1:] == (Outcome.WITHIN, ["independent", "all"])


def test_what_is_wrong_is_wrong_by_all() -> None:
    assert off_by(1e3)[1:] == (Outcome.WRONG, ["independent", "all"])


def test_tiles_of_rounded_inputs_are_judged_by_all_at_once() -> None:
    """There errors in common may cancel, so that less is allowed than without (see `standard.NEAR`)."""
    graph = parse(
        "Config Platform=AVX512BFloat16\nInput ToTensor=x Channels=16 Height=8 Width=8\n"
        "Conv FromTensor=x ToTensor=y ToChannels=16 FilterH=3 FilterW=3\nOutput FromTensor=y\n"
    )
    asked = {}
    for kernel in ("direct-bf16", "winograd-2x2-bf16"):
        made = OURS.prepare(graph, Options(force=(("", kernel),)))
        assert isinstance(made, Sources)
        with pytest.MonkeyPatch.context() as patch:
            looks = told(patch)
            data = draw(graph, "gaussian", 0)
            steps = Steps(nobody, 1, 1, Clock("run"))
            standard.judged(Report(Case(graph.source.text), graph, "none", made), data, {}, ["y"], steps, 0)
        asked[kernel] = looks
    assert asked == {"direct-bf16": ["independent"], "winograd-2x2-bf16": ["all"]}


def test_the_standard_of_a_culprit_is_the_whole_one() -> None:
    """It is written into the finding, though nothing that was computed is wrong, or nothing was computed."""
    steps = Steps(nobody, 1, LAYERS, Clock("run"))
    data = one_sided()
    kept, verdicts = standard.judged(report(), data, {}, [OUTPUT], steps, 0, is_culprit=True)
    whole = reference.run(report().graph, data.params, data.inputs)[OUTPUT]
    assert verdicts == ()
    assert np.array_equal(kept.expected[OUTPUT].variance, whole.variance)
    assert np.array_equal(kept.allowed(OUTPUT), 12.0 * np.sqrt(whole.variance))


def test_stages_are_told_apart() -> None:
    steps = Steps(nobody, 1, LAYERS, Clock("run"))
    standard.judged(report(), one_sided(), {}, [OUTPUT], steps, 0)
    seconds = steps.clock.seconds
    assert set(seconds) == {"run", "reference", "compare"}
    assert seconds["reference"] > 0
