"""Bugs planted in the C that our compiler emits are found, by the command a user would give."""

from __future__ import annotations

from pathlib import Path

import pytest

import nn512
from fuzz.targets import Sources
from fuzz.targets.mutants import Operator, mutants, operators_named
from nn512.cli import main

NET = """\
Config
Input ToTensor=image Channels=19 Height=9 Width=11
Conv FromTensor=image ToTensor=c1 ToChannels=21 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c1 ToTensor=r1 Kind=ReLU
Conv FromTensor=r1 ToTensor=c2 ToChannels=33 FilterH=1 FilterW=1
Output FromTensor=c2
"""

PLANTED = operators_named("dropped tap", "widened mask", "unwritten lane", "short tile")


@pytest.fixture(scope="module")
def emitted() -> Sources:
    net = nn512.compile(nn512.parse(NET))
    return Sources(net.prefix, net.header, net.source)


def verify(sources: Sources, folder: Path) -> int:
    sources.write(folder)
    (folder / "net.graph").write_text(NET)
    return main(["verify", str(folder / "net.graph"), "--source", str(folder), "--out", str(folder / "findings")])


def test_unbroken_source_is_verified(emitted: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(emitted, tmp_path) == 0
    assert "verified: c2" in capsys.readouterr().out
    assert not (tmp_path / "findings").exists()


@pytest.mark.parametrize("operator", PLANTED, ids=lambda operator: operator.name)
def test_planted_bugs_are_found(
    operator: Operator, emitted: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutant = next(mutants(emitted, (operator,)))
    assert verify(mutant.sources, tmp_path) == 1, str(mutant)
    output = capsys.readouterr().out
    assert "NOT verified" in output
    (finding,) = (tmp_path / "findings").iterdir()
    assert f"kept in {finding}" in output
    assert main(["repro", str(finding)]) == 1


def test_a_mutant_differs_in_one_line(emitted: Sources) -> None:
    lines = emitted.source.splitlines()
    seen = set()
    for mutant in mutants(emitted):
        changed = [
            number
            for number, pair in enumerate(zip(lines, mutant.sources.source.splitlines(), strict=True), 1)
            if pair[0] != pair[1]
        ]
        assert changed == [mutant.line]
        seen.add(mutant.operator)
    assert {operator.name for operator in PLANTED} < seen
