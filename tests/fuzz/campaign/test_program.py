"""The C program of a finding whose fault is none of values says so, and does not end as if all were well."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.campaign import findings
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.graph import Graph, parse

GRAPH = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=4
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=2 FilterW=2
Output FromTensor=y
"""
CASE = Case(GRAPH, data=(DataSeed("exact", 1),))

DESTROY = "NN512NetDestroy(NN512Net *net) { free(net); }"
FAULTS = {
    "leak": (DESTROY, "NN512NetDestroy(NN512Net *net) { (void)net; }"),
    "process": (DESTROY, 'NN512NetDestroy(NN512Net *net) { free(net); printf("bye\\n"); }'),
    "mxcsr": ("*engine = made;", "*engine = made; __builtin_ia32_ldmxcsr(0x9fc0);"),
    "build": (DESTROY, DESTROY + "\n#error planted"),
}


def kept(emit: Callable[[Graph], Sources], kind: str, folder: Path) -> Path:
    """The finding that a fault of this kind is."""
    graph, runner = parse(GRAPH), runner_for()
    sources = emit(graph)
    was, is_ = FAULTS[kind]
    assert was in sources.source
    text = f"#include <immintrin.h>\n#include <stdio.h>\n{sources.source.replace(was, is_)}"
    broken = Sources(sources.prefix, sources.header, text, profile="direct", is_given=True)
    report = check_sources(CASE, graph, broken, draw(CASE, graph), runner)
    assert kind in {problem.kind for problem in report.problems}
    return findings.save(report, folder).path


def built_and_run(folder: Path, *flags: str) -> tuple[int, str]:
    """How the program of a finding ends, and what it says, after a build as its heading tells."""
    command = shlex.split((folder / "repro.c").read_text().splitlines()[2].strip(" *"))
    strict = [*runner_for().compiler.command, "-Wall", "-Wextra", "-Werror", *command[1:], *flags]
    subprocess.run(strict, cwd=folder, check=True)
    run = subprocess.run(["./repro"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return run.returncode, run.stdout + run.stderr


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(("kind", "advice"), [("leak", "-fsanitize=address"), ("process", "nn512 repro shows it")])
def test_what_the_program_cannot_show_it_says(
    kind: str, advice: str, naive_emit: Callable[[Graph], Sources], tmp_path: Path
) -> None:
    folder = kept(naive_emit, kind, tmp_path)
    heading = (folder / "repro.c").read_text().partition("*/")[0]
    assert f"cannot show this fault by itself, which is none of values ({kind}): nn512 repro shows it" in heading
    code, said = built_and_run(folder)
    assert code == 3, said
    assert f"all results are right; the fault is none of values ({kind}): nn512 repro shows it" in said
    assert advice in heading
    assert advice in said


@pytest.mark.usefixtures("runs_here")
def test_changed_modes_are_shown(naive_emit: Callable[[Graph], Sources], tmp_path: Path) -> None:
    code, said = built_and_run(kept(naive_emit, "mxcsr", tmp_path))
    assert code == 1, said
    assert "1 threads: the net leaves MXCSR at 0x9fc0, which was 0x1f80\n" in said
    assert said.endswith("WRONG\n")


def test_c_that_does_not_build(naive_emit: Callable[[Graph], Sources], tmp_path: Path) -> None:
    folder = kept(naive_emit, "build", tmp_path)
    assert "The C does not build." in (folder / "repro.c").read_text()
    file = folder / "NN512.c"
    file.write_text(file.read_text().replace("#error planted", ""))
    code, said = built_and_run(folder)
    assert code == 3
    assert "nn512 repro has those with which it did not" in said
