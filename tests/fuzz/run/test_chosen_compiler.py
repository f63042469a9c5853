"""$CC builds all cases, whatever they ask for; else a case has the compiler that it asks for, or was found with."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.campaign.stored import Stored
from fuzz.campaign.tally import CaseSummary
from fuzz.case import Case
from fuzz.judge.report import Report
from fuzz.run.runners import runner_for
from nn512.graph import parse
from nn512.toolchain import Compiler, find_compiler, find_compilers

GRAPH = """\
Config
Input ToTensor=x Channels=1 Height=1 Width=1
Activation FromTensor=x ToTensor=y Kind=ReLU
Output FromTensor=y
"""


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """The default compiler, where $CC names none."""
    monkeypatch.delenv("CC", raising=False)
    return find_compiler()


@pytest.mark.parametrize("name", ["", "gcc", "clang"])
def test_cc_builds_whatever_is_asked_for(
    name: str, compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "cc"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(compiler.command)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    assert runner_for(name).compiler.path == str(script)
    found = Stored(Case(GRAPH, compiler=name), compiler=name)
    assert found.choose_runner()[0].compiler.path == str(script)


def test_a_slow_build_is_told_with_the_program(compiler: Compiler) -> None:
    runner = replace(runner_for(), compiler=replace(compiler, command=("/opt/bin/clang-19",)))
    report = Report(Case(GRAPH, compiler="clang"), parse(GRAPH), "runner", ran=runner)
    assert CaseSummary.of(report).built == "1 layers, -Og, clang-19"


@pytest.mark.usefixtures("compiler")
def test_a_finding_is_replayed_by_the_compiler_that_built_it() -> None:
    """That of $CC may have been another than its case asks for."""
    for kind in {found.kind for found in find_compilers()}:
        for asked in ("gcc", "clang"):
            runner, _ = Stored(Case(GRAPH, compiler=asked), compiler=kind.value).choose_runner()
            assert runner.compiler.kind is kind
