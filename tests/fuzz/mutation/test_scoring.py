"""Mutants are chosen and counted as the command line says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fuzz.mutation.judging import Fate, Judge
from fuzz.mutation.scoring import Choice, FaultError, Result, Score, mutants_of, score
from fuzz.problem import Problem
from nn512.cli import main
from nn512.options import Options

NET = """\
Config
Input ToTensor=x Channels=3 Height=2 Width=2
Activation FromTensor=x ToTensor=y Kind=ReLU Param=0.5
Output FromTensor=y
"""


def result(fate: Fate, by: str = "") -> Result:
    return Result("n.graph", "dropped tap", "Layer 1: y", 7, "a = b;", "a = a;", fate, by, "")


def test_choices_are_the_same_every_time_and_rise() -> None:
    assert Choice().of(5, 0) == [0, 1, 2, 3, 4]
    assert Choice(limit=2).of(5, 0) == [0, 1]
    drawn = Choice(sample=10, seed=3).of(1000, 1)
    assert drawn == Choice(sample=10, seed=3).of(1000, 1) == sorted(set(drawn))
    assert len(drawn) == 10
    assert drawn != Choice(sample=10, seed=4).of(1000, 1)
    assert drawn != Choice(sample=10, seed=3).of(1000, 2)
    assert Choice(sample=10).of(3, 0) == [0, 1, 2]


def test_what_all_nets_have_in_common_is_changed_once() -> None:
    judge = Judge(NET, "n.graph", Options())
    sections = {mutant.section for mutant in mutants_of(judge, first=True)}
    assert {"", "Threads", "The engine"} < sections
    assert sections - {mutant.section for mutant in mutants_of(judge, first=False)} == {"", "Threads"}


def test_the_score_leaves_out_what_is_no_bug() -> None:
    fates = [*[Fate.KILLED] * 3, Fate.SURVIVED, Fate.EQUIVALENT, Fate.STILLBORN]
    found = Score([result(fate, "values") for fate in fates])
    assert found.counted == 4
    assert found.percent == 75
    first, *rest = found.lines()
    assert first == "75.0 % of 4 mutants found; 1 survived, 1 are equivalent, 1 do not build"
    assert rest == ["  found by    values 3", "  equivalent  values 1"]
    assert [line.strip() for line in found.survivors[0].lines()] == [
        "n.graph, line 7 (Layer 1: y): dropped tap",
        "- a = b;",
        "+ a = a;",
    ]
    assert Score().percent == 0


def test_what_is_wrong_already_is_no_place_for_mutants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "unbroken", lambda _: (Problem("values", "y is wrong"),))
    with pytest.raises(FaultError, match=r"n\.graph: wrong before anything is changed: values: y is wrong"):
        next(score([Judge(NET, "n.graph", Options())], Choice()))


@pytest.mark.usefixtures("runs_here")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here and in other processes the same; every mutant in the file; the exit code by the score."""
    net, kept = tmp_path / "n.graph", tmp_path / "kept.json"
    net.write_text(NET)
    told = []
    for jobs in ("1", "2"):
        command = ["mutate", str(net), "--sample", "6", "--seed", "2", "--jobs", jobs, "--json", str(kept)]
        code = main([*command, "--at-least", "0"])
        told.append((code, capsys.readouterr().out, kept.read_text()))
    assert told[0] == told[1]
    assert told[0][0] == 0
    results = [json.loads(line) for line in told[0][2].splitlines()]
    assert len(results) == 6
    assert [one["line"] for one in results] == sorted(one["line"] for one in results)
    assert set(results[0]) == set(Result.__slots__)


@pytest.mark.parametrize(
    ("fates", "code"), [([Fate.KILLED] * 99 + [Fate.SURVIVED], 0), ([Fate.KILLED, Fate.SURVIVED], 1), ([], 1)]
)
def test_the_exit_code_is_the_answer(
    fates: list[Fate], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "n.graph"
    net.write_text(NET)
    results = [(result(fate), len(fates)) for fate in fates]
    monkeypatch.setattr("fuzz.mutation.scoring.score", lambda *_: iter(results))
    assert main(["mutate", str(net)]) == code
    assert capsys.readouterr().out.count("- a = b;") == fates.count(Fate.SURVIVED)


@pytest.mark.parametrize("arguments", [["--sample", "0"], ["--limit", "-1"], ["--jobs", "0"], ["--at-least", "101"]])
def test_senseless_bounds_are_mistakes_of_the_user(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "n.graph"
    net.write_text(NET)
    assert main(["mutate", str(net), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_broken_graph_is_a_mistake_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "n.graph"
    net.write_text("Config\nInput\n")
    assert main(["mutate", str(net)]) == 2
    assert "n.graph:2" in capsys.readouterr().err
