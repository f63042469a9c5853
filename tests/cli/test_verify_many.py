"""`nn512 verify` and `nn512 check` of several nets: a verdict on each, one exit code, reports for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fuzz.campaign import verifying
from fuzz.campaign.crew import Death, Done
from fuzz.campaign.verifying import Step, Wish, attempt
from fuzz.case import Case, DataSeed
from fuzz.judge.compare import Outcome, Verdict
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.runners import runner_for
from nn512.cli import main, verify_many
from nn512.cli.nets import Result, graph_files, worst
from nn512.errors import MachineError, UsageError
from nn512.graph import parse

NET = (
    "Config\nInput ToTensor=x Channels=2 Height=3 Width=3\nActivation FromTensor=x ToTensor={} Kind=ReLU\n"
    "Output FromTensor={}\n"
)


BROKEN = NET.format("y", "y").replace("Config", "Config Colour=red")


class Here:
    """A crew of which nobody is in another process: what is begun is done when somebody listens."""

    def __class_getitem__(cls, _: object) -> type[Here]:
        return cls

    def __init__(self, *_: object) -> None:
        self._begun: list[Wish] = []

    @property
    def busy(self) -> bool:
        return bool(self._begun)

    def has_room(self) -> bool:
        return not self._begun

    def begin(self, job: Wish, _: object) -> None:
        self._begun.append(job)

    def events(self, _: float) -> Iterator[tuple[Wish, Any]]:
        wish = self._begun.pop()
        if "ToTensor=deadly" in wish.case.graph:
            yield wish, Death(-9)
            return
        steps: list[Step] = []

        class Listener:
            def step(self, says: str, share: float) -> None:
                steps.append(Step(says, share))

            def say(self, lines: object) -> None:
                pass

        verdict = attempt(wish, Listener())
        for event in (*steps, verdict, Done()):
            yield wish, event

    def close(self) -> Iterator[tuple[Wish, Any]]:
        yield from ()


def judged(case: Case, *_: object) -> Report:
    """A verdict by the name of the net's output, without a look at any C."""
    graph = parse(case.graph)
    (output,) = (node.from_tensor for node in graph.outputs)
    if output == "full":
        raise MachineError("this case cannot be checked: No space left on device")
    if output == "odd":
        raise ZeroDivisionError("1/0")
    if output == "wrong":
        return Report(case, graph, "none", problems=(Problem("emit", "planted"),))
    verdict = Verdict(output, Outcome.EXACT, 18, 0, 0.0, 0.0, None, "")
    return Report(case, graph, "none", verdicts={DataSeed("exact", 0): (verdict,)}, executed=True)


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, to be filled by `add`, where no C is compiled."""
    monkeypatch.setattr(verifying, "check_case", judged)
    monkeypatch.setattr(verify_many, "Processes", Here)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    (tmp_path / "nets" / "more").mkdir(parents=True)
    return tmp_path / "nets"


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.graph").write_text(NET.format(*[Path(name).name] * 2))


def test_files_of_folders_come_by_name_and_once(nets: Path) -> None:
    add(nets, "b", "a", "more/c")
    (nets / "notes.txt").write_text("no graph")
    found = ["nets/a.graph", "nets/b.graph", "nets/more/c.graph"]
    assert graph_files(["nets"]) == found
    assert graph_files(["nets/b.graph", "nets", "./nets/a.graph"]) == ["nets/b.graph", "nets/a.graph", found[2]]
    (nets / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: there is no \*\.graph in this folder"):
        graph_files(["nets/empty"])


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((0, 3), 3), ((3, 2, 0), 2), ((2, 1, 3), 1), ((1, 70, 0), 70), ((), 0)],
)
def test_the_worst_exit_code(codes: tuple[int, ...], expected: int) -> None:
    assert worst([Result("a", code, "") for code in codes]) == expected


def test_all_are_right(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(nets, "a", "b")
    assert main(["verify", "nets", "--jobs", "2"]) == 0
    output = capsys.readouterr().out
    assert "nets/a.graph: verified: a; error at most 0.00 sigma   (" in output
    assert "\n2 of 2 nets verified   (2 jobs, " in output


def test_each_is_judged_whatever_becomes_of_the_others(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(nets, "a", "wrong", "full", "odd", "deadly")
    (nets / "broken.graph").write_text(BROKEN)
    words = ["verify", "nets", "nowhere.graph", "--json", "v.json", "--junit", "v.xml", "--no-shrink"]
    assert main(words) == 70
    output = capsys.readouterr().out
    assert "\n1 of 7 nets verified, 1 NOT verified, 5 NOT JUDGED   (" in output
    (finding,) = Path("findings").iterdir()
    assert f"\n    nn512 repro findings/{finding.name}\n" in output
    report = json.loads(Path("v.json").read_text())
    assert (report["format"], report["command"], report["exit_code"]) == (1, "verify", 70)
    found = {Path(net["graph"]).stem: net for net in report["nets"]}
    codes = {"a": 0, "broken": 2, "deadly": 3, "full": 3, "nowhere": 2, "odd": 70, "wrong": 1}
    assert {name: net["exit_code"] for name, net in found.items()} == codes
    assert found["a"]["outputs"][0]["outcome"] == "exact"
    assert found["broken"]["mistakes"] == [{"line": 1, "column": 8, "message": "Config has no field 'Colour'"}]
    assert found["wrong"]["finding"]["path"] == f"findings/{finding.name}"
    assert found["wrong"]["problems"] == [{"kind": "emit", "data": None, "detail": "planted"}]
    assert "its process was killed" in found["deadly"]["headline"]
    assert found["odd"]["headline"] == "NOT JUDGED: ZeroDivisionError: 1/0"
    suite = ET.fromstring(Path("v.xml").read_text()).find("testsuite")  # noqa: S314 - it is our own
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["7", "1", "5"]


def test_a_link_to_what_is_no_more_is_not_judged(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(nets, "right")
    (nets / "gone.graph").symlink_to(nets / "nowhere.graph")
    assert main(["verify", str(nets)]) == 2
    assert f"{nets}/gone.graph: NOT JUDGED: " in capsys.readouterr().out


def test_without_a_fault_of_ours_a_finding_is_the_worst(nets: Path) -> None:
    add(nets, "wrong", "full")
    (nets / "broken.graph").write_text(BROKEN)
    assert main(["verify", "nets", "--no-shrink"]) == 1
    (nets / "wrong.graph").unlink()
    assert main(["verify", "nets"]) == 2
    (nets / "broken.graph").unlink()
    assert main(["verify", "nets"]) == 3


def test_github_marks_mistakes_where_they_are(
    nets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    add(nets, "wrong")
    (nets / "broken.graph").write_text(BROKEN)
    assert main(["verify", "nets", "--no-shrink"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert lines[0] == (
        "::error file=nets/broken.graph,line=1,col=8,title=nn512 verify%3A nets/broken.graph"
        "::Config has no field 'Colour'"
    )
    assert lines[1].startswith("::error file=nets/wrong.graph,title=nn512 verify%3A nets/wrong.graph::NOT verified")
    assert main(["check", "nets", "-q"]) == 2
    assert capsys.readouterr().out.startswith("::error file=nets/broken.graph,line=1,col=8,title=nn512 check%3A")


def test_reports_of_a_single_net(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(nets, "a")
    assert main(["verify", "nets/a.graph", "--json", "v.json", "--junit", "v.xml"]) == 0
    assert capsys.readouterr().out.endswith("verified: a; error at most 0.00 sigma\n")
    report = json.loads(Path("v.json").read_text())
    assert (
        [net["headline"] for net in report["nets"]] == [report["headline"]] == ["verified: a; error at most 0.00 sigma"]
    )
    assert 'tests="1" failures="0" errors="0"' in Path("v.xml").read_text()
    Path("a.graph").write_text(BROKEN)
    assert main(["verify", "a.graph", "--json", "v.json"]) == 2
    assert capsys.readouterr().err.startswith("a.graph:1:8: error: Config has no field")
    assert json.loads(Path("v.json").read_text())["nets"][0]["mistakes"][0]["line"] == 1


@pytest.mark.parametrize("words", [["--params", "p.npz"], ["--input", "x=x.npy"], ["--source", "."], ["--onnx", "m"]])
def test_what_goes_with_one_net_only(words: list[str], nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(nets, "a", "b")
    assert main(["verify", "nets", *words]) == 2
    assert f"{words[0]} goes with a single graph" in capsys.readouterr().err


def test_check_of_several(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(nets, "a", "b")
    (nets / "broken.graph").write_text(BROKEN)
    assert main(["check", "nets", "--json", "c.json", "--junit", "c.xml"]) == 2
    output, said = capsys.readouterr()
    assert output.count("line  node") == 2
    assert output.endswith("\n2 of 3 graphs without mistakes\n")
    assert said.startswith("nets/broken.graph:1:8: error: ")
    first = json.loads(Path("c.json").read_text())["nets"][0]
    assert (first["outputs"], first["layers"][0]["shape"]) == ({"a": [2, 3, 3]}, [2, 3, 3])
    assert 'tests="3" failures="0" errors="1"' in Path("c.xml").read_text()


@pytest.mark.usefixtures("runs_here")
def test_progress_tells_each_step(tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []

    class Listener:
        def step(self, says: str, share: float) -> None:
            heard.append((says, share))

        def say(self, lines: object) -> None:
            pass

    text = NET.format("y", "z").replace("Output", "Softmax FromTensor=y ToTensor=z\nOutput")
    case = Case(text, data=(DataSeed("exact", 0), DataSeed("gaussian", 1)))
    assert verifying.verify(Wish("a", case, threads=1, out=tmp_path), Listener()).code == 0
    steps = ["emitting C", f"building C, {runner_for().level(case.optimisation)}"]
    for data in case.data:
        steps += [f"running on {data}", *(f"reference on {data}, layer {number} of 2" for number in (1, 2))]
    assert [says for says, _ in heard] == steps
    shares = [share for _, share in heard]
    assert shares == sorted(set(shares))
    assert shares[0] == 0
    assert shares[-1] < 1


@pytest.mark.usefixtures("runs_here")
def test_in_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As users have it: two nets, compiled and run at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    add(tmp_path, "a", "b")
    assert main(["verify", ".", "--data", "exact", "--threads", "1", "--jobs", "2"]) == 0
    output = capsys.readouterr().out
    assert "a.graph: verified: a; error at most 0.00 sigma" in output
    assert "b.graph: verified: b; error at most 0.00 sigma" in output
    assert "2 of 2 nets verified   (2 jobs, " in output
