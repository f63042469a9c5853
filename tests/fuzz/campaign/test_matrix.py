"""Cases built in several ways: equal bits and no warning; what differs or warns is found and told with its build."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fuzz.campaign import portable
from fuzz.campaign.matrix import Variant, check_variants, variants
from fuzz.case import Case, DataSeed
from fuzz.problem import Problem
from fuzz.run.runners import runner_for
from fuzz.targets import OURS, Sources
from nn512.graph import Graph
from nn512.options import Options
from nn512.toolchain import all_compilers, find_compiler

GRAPH = """\
Config Prefix=Net
Input ToTensor=x Channels=3 Height=2 Width=5
Activation FromTensor=x ToTensor=y Kind=ReLU Param=0.3
Output FromTensor=y
"""
CASE = Case(GRAPH, {}, "-O1", (DataSeed("gaussian", 1), DataSeed("nonfinite", 1), DataSeed("wide", 1)))


@dataclass(frozen=True)
class Changed:
    """Our C with one text replaced."""

    before: str
    after: str
    name: str = "changed"
    strict: bool = True
    skips: frozenset[str] = frozenset()

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        sources = OURS.prepare(graph, options)
        assert isinstance(sources, Sources)
        assert self.before in sources.source
        return replace(sources, source=sources.source.replace(self.before, self.after, 1))


@pytest.fixture
def ways() -> tuple[Variant, ...]:
    runner = runner_for()
    return (Variant(runner, ("-O1",)), Variant(runner, ("-O0", "-std=c11")))


def test_two_builds_agree(ways: tuple[Variant, ...], runs_here: str) -> None:
    assert runs_here
    found = check_variants(CASE, ways)
    assert found.executed
    assert not found.problems, found.problems[0]


def test_what_depends_on_the_level_is_found(ways: tuple[Variant, ...], runs_here: str) -> None:
    assert runs_here
    slope = "_mm512_set1_ps(0.300000012f)"
    by_level = "_mm512_set1_ps(\n#ifdef __OPTIMIZE__\n0.3f\n#else\n0.3000001f\n#endif\n)"
    found = check_variants(CASE, ways, Changed(slope, by_level))
    assert {problem.kind for problem in found.problems} == {"matrix"}
    assert "elements differ" in found.problems[0].detail
    assert f"with {ways[1]}" in found.problems[0].detail


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("NetDestroy(NetNet *net) {", "NetDestroy(NetNet *net) {\n    int cut = 1.5;\n    (void)cut;", "conversion"),
        ("NetDestroy(NetNet *net) {", "NetDestroy(NetNet *net) {\n    { int net = 1; (void)net; }", "shadow"),
        ("#include <immintrin.h>\n", "#include <immintrin.h>\n;\n", "edantic"),
    ],
)
def test_a_warning_is_found(before: str, after: str, says: str, ways: tuple[Variant, ...], runs_here: str) -> None:
    if says == "edantic" and runs_here != "native":
        pytest.skip("with portable intrinsics C is not pedantic")
    found = check_variants(CASE, ways[:1], Changed(before, after))
    assert {problem.kind for problem in found.problems} == {"build"}
    assert says in found.problems[0].detail


def test_what_is_built_and_not_run_is_compared_with_nothing(ways: tuple[Variant, ...], runs_here: str) -> None:
    assert runs_here
    found = check_variants(CASE, (replace(ways[0], runs=False),))
    assert not found.executed
    assert not found.problems


def test_every_compiler_has_every_level(runs_here: str) -> None:
    assert runs_here
    found = variants()
    for compiler in all_compilers():
        flags = {" ".join(way.flags) for way in found if way.runner.compiler == compiler}
        assert {"-O0", "-O1", "-O2", "-O3", "-O1 -std=c11", "-O1 -std=c17"} <= flags
    static = {way.flags[0] for way in found if "-static" in way.flags}
    assert static == ({"-O0", "-O1", "-O2", "-O3"} if shutil.which("musl-gcc") else set())
    assert found[0].runs


def test_a_compiler_with_a_number_is_another(runs_here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_here
    real = find_compiler()
    number = 39
    script = tmp_path / f"{real.kind.value}-{number}"
    version = f'case $1 in --version) echo "{real.kind.value} {number}"; exit;; esac'
    script.write_text(f'#!/bin/sh\n{version}\nexec {shlex.join(real.command)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert sum(str(way).startswith(f"{script.name} ") for way in variants()) >= 6


def test_portable_intrinsics_are_compared_with_the_processor(tmp_path: Path, runs_here: str) -> None:
    if runs_here != "native":
        pytest.skip("there is no AVX-512 to compare with")
    stream = io.StringIO()
    assert portable.main(["--cases", "2", "--out", str(tmp_path)], stream) == 0
    assert re.search("2 cases on .*: all equal bit for bit", stream.getvalue())
