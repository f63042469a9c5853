"""Demands on C of others: each is made, can be waived by its name, and those that only our own C meets are not made."""

from __future__ import annotations

from pathlib import Path

import pytest

import nn512
from fuzz.judge.memory import HOOK
from fuzz.run.checks import Checks
from fuzz.run.demands import DEMANDS, contract, waive
from fuzz.run.outcome import Kind
from nn512.cli import main
from nn512.errors import UsageError

GRAPH = """\
Config
Input ToTensor=x Channels=3 Height=2 Width=2
Activation FromTensor=x ToTensor=y Kind=ReLU Param=0.5
Output FromTensor=y
"""

FAULTS = {
    "leaks": ("    free(engine->arena);\n", ""),
    "process": ("    team_check(&engine->team);\n", '    team_check(&engine->team);\n    puts("inferring");\n'),
    "calls": ("if (index < 0 || index >= engine->team.threads)", "if (index > engine->team.threads)"),
}
"""By the demand that is not met: a text of our C, and what stands in its place."""


def written(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """The arguments of `nn512 verify` for C in a folder that nobody takes for ours."""
    net = nn512.compile(nn512.parse(GRAPH))
    source = net.source.replace(HOOK, "somebody")
    for right, wrong in changes:
        assert right in source
        source = source.replace(right, wrong, 1)
    (folder / "net.graph").write_text(GRAPH)
    (folder / f"{net.prefix}.h").write_text(net.header)
    (folder / f"{net.prefix}.c").write_text(source)
    options = ["--source", str(folder), "--out", str(folder / "found"), "--threads", "2", "--data", "exact"]
    return ["verify", str(folder / "net.graph"), *options]


@pytest.mark.parametrize("name", FAULTS)
def test_a_demand_is_made_and_can_be_waived(
    runs_here: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs_here
    command = written(tmp_path, FAULTS[name])
    assert main(command) == 1
    said = capsys.readouterr().out
    assert any(f"{kind} on " in said for kind in DEMANDS[name].kinds), said
    assert main([*command, "--without", name]) == 0, capsys.readouterr().out


def test_others_need_not_promise_what_the_original_does_not(runs_here: str, tmp_path: Path) -> None:
    """Its EngineDestroy does not take NULL, and its thread 0 is not the caller."""
    assert runs_here
    careless = ("    if (engine == NULL) return;\n", "")
    other = (
        "*to = engine->team.workers[index].thread;",
        "*to = index ? engine->team.workers[index].thread : (pthread_t)7;",
    )
    assert main(written(tmp_path, careless, other)) == 0


def test_every_violation_beside_values_has_its_place() -> None:
    """Whatever cannot be waived is a fault of memory or the end of a run."""
    named = {kind for demand in DEMANDS.values() for kind in demand.kinds}
    memory = {Kind.OUT_OF_BOUNDS, Kind.INPUT_MODIFIED, Kind.PARAMS_USED_LATE, Kind.UNWRITTEN, Kind.HEAP, Kind.SANITIZER}
    assert set(Kind) - named == memory | {Kind.CRASH, Kind.HANG, Kind.DRIVER, Kind.RUNAWAY_ALLOCATION}
    assert all(name in contract() for name in DEMANDS)


def test_waiving_switches_off_what_looks_for_it() -> None:
    waived = waive(Checks(), ["calls", "leaks"])
    assert (waived.api, waived.process, waived.waived) == (False, True, frozenset({Kind.API, Kind.LEAK}))
    with pytest.raises(UsageError, match="no demand is called 'leak'; there are calls, endurance, failures"):
        waive(Checks(), ["leak"])


@pytest.mark.parametrize("arguments", [["--without", "leaks"], ["--source", ".", "--without", "leak"]])
def test_mistakes_are_told(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.graph").write_text(GRAPH)
    assert main(["verify", str(tmp_path / "net.graph"), *arguments]) == 2
    assert "--without goes with" in (said := capsys.readouterr().err) or "no demand is called 'leak'" in said
