"""The layer at fault is named: bugs are planted in each layer of emitted C, and what comes behind is not blamed."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

import nn512
from fuzz.campaign.identity import identity_of
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.localize import localized, taps_of, unblocked
from fuzz.judge.report import Report
from fuzz.judge.telling import told
from fuzz.run.checks import LIGHT, Checks
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.cli import main
from nn512.errors import CannotRunError
from nn512.options import Options
from nn512.plan.plan import PlannedTensor

NET = """\
Config
Input ToTensor=x Channels=19 Height=6 Width=5
Conv FromTensor=x ToTensor=c ToChannels=18 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c ToTensor=r Kind=ReLU
Pooling FromTensor=r ToTensor=p Kind=Max2x2Stride2
Softmax FromTensor=p ToTensor=s
Output FromTensor=s
"""
LAYERS = ("x_load", "r", "p", "s", "s_store")


def case_of(text: str) -> Case:
    return Case(text, optimisation="-Og", data=(DataSeed("gaussian", 0),))


CASE = case_of(NET)


@functools.cache
def emitted(text: str = NET) -> Sources:
    made = nn512.compile(nn512.parse(text), Options())
    return Sources(made.prefix, made.header, made.source, made.plan)


def planted(layer: str, old: str, new: str, text: str = NET) -> Sources:
    """The emitted C of a net with a change in the function of one layer."""
    head, function, rest = re.split(rf"(?<=NOINLINE void )(NN512_{layer})(?=\(const void)", emitted(text).source)
    assert old in rest
    return replace(emitted(text), source=head + function + rest.replace(old, new, 1))


def check(sources: Sources, case: Case = CASE) -> Report:
    graph = nn512.parse(case.graph)
    report = check_sources(case, graph, sources, draw(case, graph), runner_for(), checks=LIGHT, strict=False)
    return localized(report)


@pytest.mark.parametrize("layer", LAYERS)
def test_off_by_one(layer: str) -> None:
    report = check(planted(layer, "< share.last", "< share.last - 1"))
    assert report.problems
    assert report.place is not None
    assert (report.place.layer.name, report.place.number, report.place.total) == (layer, LAYERS.index(layer) + 1, 5)
    assert not report.place.unseen
    assert f"layer {LAYERS.index(layer) + 1} of 5: {layer}" in "\n".join(told(report))
    if layer != "s_store":
        assert report.place.verdict is not None
        assert report.place.verdict.pattern is not None


def test_a_crash_is_blamed_on_the_layer_under_way() -> None:
    report = check(planted("p", "= context;", "= context; *(volatile int *)16 = 0;"))
    assert report.place is not None
    assert report.place.layer.name == "p"
    assert "crash" in report.place.why


def test_a_share_of_several_threads_that_is_too_small() -> None:
    """One thread computes everything. What the layers leave is looked at with as many as showed the fault."""
    text = NET.replace("Channels=19 Height=6 Width=5", "Channels=32 Height=40 Width=40")
    report = check(planted("r", "< share.last", "< share.last - (share.first > 0)", text), case_of(text))
    assert report.problems[0].threads > 1
    assert report.place is not None
    assert report.place.layer.name == "r"
    assert report.place.verdict is not None


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize("layer", ["r", "p"])
def test_a_changed_mode_is_blamed_on_the_layer_that_changed_it(layer: str) -> None:
    flushing = "if (share.first == 0) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8000);"
    report = check(planted(layer, "= context;", f"= context; {flushing}"))
    assert report.problems[0].kind == "mxcsr"
    assert report.place is not None
    assert report.place.layer.name == layer


@pytest.mark.usefixtures("runs_here")
def test_a_mode_that_is_changed_before_the_first_layer_is_blamed_on_none() -> None:
    inferred = "EngineInference(NN512Engine *engine, float *sData, const float *xData) {"
    assert inferred in emitted().source
    flushing = "\n    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8000);"
    report = check(replace(emitted(), source=emitted().source.replace(inferred, inferred + flushing)))
    assert report.problems[0].kind == "mxcsr"
    assert report.place is None


def test_faults_of_one_layer_that_look_alike_at_the_end_have_other_names() -> None:
    """Every number behind a fully connected layer depends on what is missing, whatever that is."""
    text = NET.replace("Softmax FromTensor=p ToTensor=s", "FullyConnected FromTensor=p ToTensor=s ToChannels=10")
    edits = ("< share.last", "< share.last - 1"), ("= share.first;", "= share.first + 1;")
    reports = [check(planted("p", *edit, text), case_of(text)) for edit in edits]
    problems = [report.problems[0] for report in reports]
    assert [(problem.kind, problem.pattern) for problem in problems] == [("uninitialized", "all")] * 2
    assert len({identity_of(report).name for report in reports}) == 2


def test_the_layer_is_looked_for_within_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(*arguments: object) -> NoReturn:
        checks = arguments[-1]
        assert isinstance(checks, Checks)
        asked.append(checks.timeout)
        raise CannotRunError("not today")

    graph = nn512.parse(NET)
    sources = planted("p", "< share.last", "< share.last - 1")
    report = check_sources(CASE, graph, sources, draw(CASE, graph), runner_for(), checks=replace(LIGHT, timeout=3.5))
    monkeypatch.setattr("fuzz.judge.localize.execute", run)
    assert localized(report).place is None
    assert asked == [3.5]


def test_nobody_is_blamed_for_what_is_right() -> None:
    report = check(emitted())
    assert report.verified
    assert report.place is None


def test_c_that_shows_nothing_is_not_localized() -> None:
    sources = planted("p", "< share.last", "< share.last - 1")
    assert check(replace(sources, plan=None, profile="direct")).place is None
    assert check(replace(sources, source=sources.source.replace("nn512tap", "tap"))).place is None


def test_c_in_a_folder_with_its_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted("r", "< share.last", "< share.last - 1").write(tmp_path)
    (tmp_path / "net.graph").write_text(NET)
    words = ["verify", str(tmp_path / "net.graph"), "--source", str(tmp_path), "--out", str(tmp_path / "findings")]
    assert main([*words, "--data", "gaussian"]) == 1
    assert "layer 2 of 5: r (Conv c (3x3, padding 1) in line 3" in capsys.readouterr().out


def test_the_plan_of_another_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emitted().write(tmp_path)
    (tmp_path / "net.graph").write_text(NET.replace("=p", "=q"))
    assert main(["verify", str(tmp_path / "net.graph"), "--source", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "the plan of another graph: this one has no tensor 'p'" in capsys.readouterr().err


def test_tensors_of_which_pixels_are_left_out_are_not_tapped() -> None:
    """A strided 1x1 convolution reads every other pixel: no others are computed before it."""
    graph = nn512.parse("""
        Config
        Input ToTensor=x Channels=4 Height=8 Width=8
        Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=1 FilterW=1
        Conv FromTensor=a ToTensor=b ToChannels=4 FilterH=1 FilterW=1 StrideH=2 StrideW=2
        Output FromTensor=b
    """)
    plan = nn512.compile(graph, Options()).plan
    assert {tensor.name: tensor.shape for tensor in plan.tensors}["a"] == (4, 4, 4)
    tapped = {tap.tensor for tap in taps_of(graph, plan)}
    assert "a" not in tapped
    assert "b" in tapped


@pytest.mark.parametrize(("segments", "lanes"), [((5, 20), 16), ((25,), 1), ((25,), 25)])
def test_layouts_are_undone(segments: tuple[int, ...], lanes: int) -> None:
    wanted = np.arange(25 * 2 * 3, dtype=np.float32).reshape(25, 2, 3)
    blocks = []
    for part in np.split(wanted, np.cumsum(segments)[:-1]):
        for block in np.split(part, range(lanes, len(part), lanes)):
            filled = np.full((lanes, 2, 3), np.nan, np.float32)
            filled[: len(block)] = block
            blocks.append(filled.transpose(1, 2, 0))
    memory = np.concatenate([block.ravel() for block in blocks] + [np.full(7, np.nan, np.float32)])
    tensor = PlannedTensor("t", (25, 2, 3), segments, lanes, 0, memory.nbytes, 1, 1, pairs=False)
    assert np.array_equal(unblocked(memory, tensor), wanted)
