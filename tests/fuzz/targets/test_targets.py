"""Anything that gives C with the API can be put under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import fuzz.targets.ours
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.telling import told
from fuzz.problem import Problem
from fuzz.targets import OURS, Folder, Sources, Target
from fuzz.targets.base import Answers, Arrays, Refused
from nn512.errors import UsageError
from nn512.graph import Graph, parse
from nn512.options import Options

GRAPH = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=3
Activation FromTensor=x ToTensor=y Kind=ReLU
Output FromTensor=y
"""
CASE = Case(GRAPH, data=(DataSeed("exact", 0),))


def test_a_target_of_ones_own(naive_emit: Callable[[Graph], Sources]) -> None:
    @dataclass(frozen=True)
    class Naive:
        name: str = "naive"
        strict: bool = True
        skips: frozenset[str] = frozenset()

        def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
            return naive_emit(graph) if not options.without_passes else Problem("emit", "there are no passes")

    target: Target = Naive()
    assert check_case(CASE, target=target).verified
    report = check_case(Case(GRAPH, {"without_passes": ["dedup"]}, data=CASE.data), target=target)
    assert [str(problem) for problem in report.problems] == ["emit: there are no passes"]


def test_what_our_compiler_writes_is_a_target_as_a_folder(tmp_path: Path) -> None:
    graph = parse(GRAPH)
    ours = OURS.prepare(graph, Options())
    assert isinstance(ours, Sources)
    ours.write(tmp_path)
    again = Folder(tmp_path, "direct").prepare(graph, Options())
    assert (again.header, again.source, again.plan, again.profile) == (ours.header, ours.source, None, "direct")
    report = check_case(CASE, target=Folder(tmp_path, "direct"))
    assert report.verified
    assert report.profile == "direct"


def test_a_folder_without_c(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"NN512\.h: No such file"):
        check_case(CASE, target=Folder(tmp_path))


def test_whatever_our_compiler_raises_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(fuzz.targets.ours, "compile_graph", fail)
    (problem,) = check_case(CASE).problems
    assert problem.kind == "emit"
    assert problem.detail.startswith("ZeroDivisionError in test_targets.py")


@dataclass(frozen=True)
class Oracle:
    """A system that answers for `GRAPH` by itself, with what `answer` makes of the input."""

    answer: Callable[[np.ndarray], Arrays | Refused | Problem]
    name: str = "oracle"
    profile: str = "direct"
    strict: bool = True
    skips: frozenset[str] = frozenset({"gaussian"})

    def prepare(self, graph: Graph, options: Options) -> Answers:  # noqa: ARG002 - part of the protocol
        return self

    def outputs(self, params: Arrays, inputs: Arrays) -> Arrays | Refused | Problem:  # noqa: ARG002
        return self.answer(inputs["x"])


ON_TWO = Case(GRAPH, data=(DataSeed("exact", 0), DataSeed("gaussian", 0)))


def test_a_system_that_answers_by_itself() -> None:
    report = check_case(ON_TWO, target=Oracle(lambda x: {"y": np.maximum(x, 0)}))
    assert report.verified
    assert list(report.verdicts) == [DataSeed("exact", 0)], "data that it makes no promise of are left out"
    assert (report.runner, report.profile) == ("oracle", "direct")


def test_wrong_answers_and_none() -> None:
    (problem,) = check_case(ON_TWO, target=Oracle(lambda x: {"y": x})).problems
    assert problem.kind == "values"
    (problem,) = check_case(ON_TWO, target=Oracle(lambda _: Problem("crash", "was ended by SIGSEGV"))).problems
    assert (problem.kind, problem.data) == ("crash", DataSeed("exact", 0))
    refusing = check_case(ON_TWO, target=Oracle(lambda _: Refused("no ReLU")))
    assert not refusing.problems
    assert not refusing.verified
    assert list(told(refusing)) == ["NOT verified: oracle does not take this graph: no ReLU"]
