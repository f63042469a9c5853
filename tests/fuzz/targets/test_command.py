"""Commands that generate C: what they write is judged, and whatever goes wrong with them is told."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import pytest

from fuzz.campaign.worker import Settings, explorer_for
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.targets import command
from fuzz.targets.command import Command
from fuzz.targets.registry import target_of
from nn512.cli import main
from nn512.errors import CannotRunError, UsageError
from nn512.graph import parse
from nn512.options import Options

GRAPH = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=3
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=1 FilterW=1
Output FromTensor=y
"""
CASE = Case(GRAPH, data=(DataSeed("exact", 0), DataSeed("gaussian", 0)))


def python(script: str) -> str:
    return f'{sys.executable} -c "{script}" {{graph}} {{dir}}'


def prepared(text: str) -> str:
    return str(Command(text).prepare(parse(GRAPH), Options()))


def test_what_a_command_writes_is_judged(runs_here: str) -> None:
    assert runs_here
    target = target_of(f"command:{sys.executable} -m nn512 compile {{graph}} {{dir}}", "direct")
    report = check_case(CASE, target=target)
    assert report.verified
    assert report.profile == "direct"
    assert target.name.startswith("command:")


def test_a_command_whose_c_is_wrong(runs_here: str) -> None:
    assert runs_here
    script = (
        "import sys, pathlib, nn512;"
        "net = nn512.compile(pathlib.Path(sys.argv[1]).read_text());"
        "net.write(sys.argv[2]);"
        "path = pathlib.Path(sys.argv[2], net.prefix + '.c');"
        "path.write_text(net.source.replace('_mm512_fmadd_ps', '_mm512_fnmadd_ps'))"
    )
    assert {problem.kind for problem in check_case(CASE, target=Command(python(script))).problems} == {"values"}


def test_a_command_that_fails_or_writes_nothing() -> None:
    assert "ended with exit code 7: no such layer\n" in prepared(
        python("import sys; print('no such layer'); sys.exit(7)")
    )
    assert "ended with SIGABRT" in prepared(python("import os; os.abort()"))
    assert "ended with signal 40" in prepared(python("import os; os.kill(os.getpid(), 40)"))
    assert "left no C with the API" in prepared(python("pass"))


def test_a_command_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TIMEOUT", 0.2)
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to
    assert "timeout: the generator did not end" in prepared(f"cat {tmp_path / 'pipe'} {{graph}}")


@pytest.mark.parametrize(("words", "limit"), [(["--timeout", "0.3"], "0.3"), ([], "2.5")])
def test_how_long_a_command_may_take(
    words: list[str],
    limit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "TIMEOUT", 2.5)
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(GRAPH)
    os.mkfifo("pipe")
    target = f"command:cat {tmp_path}/pipe {{graph}}"
    assert main(["verify", "net.graph", "--target", target, "--data", "exact", "--no-shrink", *words]) == 1
    assert f"the generator did not end within {limit} s" in capsys.readouterr().out


def test_a_campaign_tells_how_long_a_target_may_take() -> None:
    settings = Settings(Path(), target="command:cat {graph}", target_seconds=7.0)
    check = explorer_for(settings, lambda _: None).check
    assert isinstance(check, functools.partial)
    assert check.keywords["target"] == Command("cat {graph}", seconds=7.0)


def test_a_command_that_cannot_be_started() -> None:
    with pytest.raises(CannotRunError, match="cannot start '/no/such/program'"):
        prepared("/no/such/program {graph}")


@pytest.mark.parametrize("text", ["", "  ", "compile", "compile 'graph {graph}"])
def test_command_lines_that_cannot_work(text: str) -> None:
    with pytest.raises(UsageError, match="command:"):
        Command(text)
