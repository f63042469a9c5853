"""Faults of systems, whose kernels nobody knows, are told apart by what the small net has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.campaign import findings
from fuzz.campaign.explore import ENOUGH, Explorer
from fuzz.campaign.identity import identity_of
from fuzz.campaign.shrink import kinds
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.report import Culprit, Report
from fuzz.problem import FAILED, Problem
from nn512.graph import parse

DATA = DataSeed("gaussian", 0)
LRN = "LRN FromTensor=x ToTensor=y Size=1\n"
NORM = "BatchNorm FromTensor=x ToTensor=y\n"
RELU = "Activation FromTensor=x ToTensor=y Kind=ReLU\n"
SIGMOID = "Activation FromTensor=x ToTensor=y Kind=Sigmoid\n"
BOTH = "BatchNorm FromTensor=x ToTensor=z\nLRN FromTensor=z ToTensor=y Size=1\n"


def wrong(layers: str, declared: str = "direct", kind: str = "values") -> Report:
    """What a system made of a net of these layers: all of it is wrong."""
    text = f"Config\nInput ToTensor=x Channels=2 Height=1 Width=1\n{layers}Output FromTensor=y\n"
    graph, case = parse(text), Case(text, data=(DATA,))
    problem = Problem(kind, "y: WRONG", DATA, pattern="all")
    culprit = Culprit(regimes.draw(graph, *("gaussian", 0)))
    return Report(case, graph, "system", problems=(problem,), declared=declared, culprit=culprit)


def test_faults_of_a_system_have_other_names() -> None:
    names = [identity_of(wrong(layers)).name for layers in (LRN, NORM, RELU, SIGMOID)]
    assert len(set(names)) == 4
    assert names[0].startswith("system-lrn-values-all")
    assert names[3].startswith("system-sigmoid-values-all")
    assert str(identity_of(wrong(LRN))) == "values in system LRN: all"


def test_faults_of_c_without_a_plan_have_other_names() -> None:
    assert len({identity_of(wrong(layers, declared="")).name for layers in (LRN, NORM)}) == 2


def test_a_fault_that_is_known_hides_no_other(tmp_path: Path) -> None:
    """Failures with the same layers are no news after ENOUGH of them. Those without are."""
    known = [wrong(LRN)] * ENOUGH
    explorer = Explorer(tmp_path, show=lambda _: None, known=known)
    assert explorer.familiar(wrong(LRN))
    assert explorer.familiar(wrong(BOTH))
    assert not explorer.familiar(wrong(NORM))
    assert not explorer.familiar(wrong(LRN, kind="failed"))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Conv node 'x': 3 is even", "Conv node 'main': 17 is even", True),
        ("/a/net.c:3:4: error: expected \u2018)\u2019", "/b/c/net.c:9:1: error: expected \u2018,\u2019", True),
        ("Conv node 'x': 3 is even", "Conv node 'x': 3 is large", False),
    ],
)
def test_failures_are_known_by_what_a_system_said(one: str, other: str, *, alike: bool, tmp_path: Path) -> None:
    """Names and numbers aside, and whatever the net has: nets in which it says the same are not all made small."""
    known, failed = (
        replace(wrong(layers), problems=(Problem(FAILED, f"RuntimeError: {said}\nmore", DATA),))
        for layers, said in ((BOTH, one), (RELU, other))
    )
    assert (identity_of(known) == identity_of(failed)) == alike
    assert bool(kinds(known) & kinds(failed)) == alike
    assert Explorer(tmp_path, show=lambda _: None, known=[known] * ENOUGH).familiar(failed) == alike


def test_a_finding_of_a_system_has_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = wrong(NORM)
    monkeypatch.setattr(findings, "export_onnx", lambda path, _, params: path.write_text(" ".join(sorted(params))))
    folder = findings.save(report, tmp_path).path
    assert (folder / "net.onnx").read_text() == "yMeans yScales yShifts yVariances"
