"""What the checker does around a verdict: it stops where going on would take long and tell nothing new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.run.checks import Checks
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.cli import main

NET = """\
Config
Input ToTensor=x Channels=3 Height=2 Width=2
Activation FromTensor=x ToTensor=y Kind=ReLU
Output FromTensor=y
"""
REGIMES = ("gaussian", "exact", "taps")


def hanging() -> Sources:
    made = nn512.compile(nn512.parse(NET))
    source = made.source.replace("team_check(&engine->team);\n    e", "for (volatile int on = 1; on;) {}\n    e")
    assert source != made.source
    return Sources(made.prefix, made.header, source, made.plan)


@pytest.mark.usefixtures("runs_here")
def test_a_hang_ends_the_case_at_the_first_data_set() -> None:
    case = Case(NET, optimisation="-Og", data=tuple(DataSeed(regime, 0) for regime in REGIMES))
    graph = nn512.parse(NET)
    data = draw(case, graph)
    report = check_sources(case, graph, hanging(), data, runner_for(), checks=Checks(timeout=0.2), strict=False)
    assert [(problem.kind, problem.data, problem.again) for problem in report.problems] == [
        ("hang", DataSeed("gaussian", 0), "")
    ]
    assert set(report.verdicts) == {DataSeed("gaussian", 0)}


@pytest.mark.usefixtures("runs_here")
def test_users_say_how_long_they_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(hanging(), plan=None).write(tmp_path)
    (tmp_path / "net.graph").write_text(NET)
    command = ["verify", str(tmp_path / "net.graph"), "--source", str(tmp_path), "--out", str(tmp_path / "findings")]
    assert main([*command, "--timeout", "0.2", "--data", "gaussian", "--no-shrink"]) == 1
    assert "no progress within the time limit" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["verify", "net.graph"], ["fuzz", "--examples", "1"]])
def test_no_time_at_all_is_a_mistake(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--timeout", "0"]) == 2
    assert "--timeout" in capsys.readouterr().err
