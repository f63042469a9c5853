"""One fault, one report: what shows on every kind of data and with every number of threads is told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.folding import Folded
from fuzz.judge.pattern import Grid
from fuzz.judge.report import Report
from fuzz.judge.telling import told
from fuzz.run.outcome import Kind, Violation
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.graph import Graph, parse

GRAPH = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=4
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=2 FilterW=2
Output FromTensor=y
"""
DATA = (DataSeed("exact", 1), DataSeed("gaussian", 2), DataSeed("positive", 3))


@pytest.fixture
def check(naive_emit: Callable[[Graph], Sources]) -> Callable[[str, str], Report]:
    def run(old: str, new: str) -> Report:
        graph = parse(GRAPH)
        sources = naive_emit(graph)
        assert old in sources.source
        broken = replace(sources, source=sources.source.replace(old, new))
        return check_sources(Case(GRAPH, data=DATA), graph, broken, draw(Case(GRAPH, data=DATA), graph), runner_for())

    return run


def test_wrong_values_are_one_problem_with_a_pattern(check: Callable[[str, str], Report]) -> None:
    report = check("float sum = params->yBiases[k];", "float sum = params->yBiases[k] + (k == 2);")
    (problem,) = report.problems
    assert problem.kind == "values"
    assert problem.pattern == "last channel"
    assert problem.again == "seen on 3 data sets"
    text = "\n".join(told(report))
    assert text.count("(the last channel), in every row and column, where everything is wrong") == 1
    assert text.count("around") == 1
    assert text.count("y: WRONG: 6 of 18 elements") == 3
    assert text.endswith("NOT verified: 1 problem")


def test_what_follows_from_another_problem_is_told_with_it() -> None:
    """What was never written differs wherever it is compared with itself."""
    folded = Folded(lambda _: Grid())
    elements = np.zeros((2, 3, 4), np.bool_)
    elements[1, 2, 3] = True

    def of(kind: Kind, tensor: str) -> Violation:
        return Violation(kind, "wrong", 0, tensor=tensor, elements=elements)

    seen = [of(Kind.VARIES, "y"), of(Kind.UNINITIALIZED, "y"), of(Kind.FORK, "y"), of(Kind.VARIES, "z")]
    folded.add_violations([*seen, Violation(Kind.FORK, "the child hangs", 0), of(Kind.INPUT_MODIFIED, "y")], DATA[0])
    told_ = [(problem.kind, problem.again) for problem in folded.problems]
    assert told_ == [
        ("uninitialized", "and so varies, fork"),
        ("varies", ""),
        ("fork", ""),
        ("input-modified", ""),
    ]


def test_elements_that_are_not_written_have_a_pattern(check: Callable[[str, str], Report]) -> None:
    report = check("float sum = params->yBiases[k];", "if (k == 1) continue;\n        float sum = params->yBiases[k];")
    kinds = [problem.kind for problem in report.problems]
    assert len(set(kinds)) == len(kinds)
    assert {kinds[0], kinds[-1]} == {"uninitialized", "values"}
    assert {problem.pattern for problem in report.problems} == {"one channel"}
    uninitialized = report.problems[0]
    assert "all 6 wrong elements have channel = 1" in uninitialized.detail
    assert "on 3 data sets" in uninitialized.again


def test_shares_of_threads_are_seen_where_results_vary_with_their_number() -> None:
    folded = Folded(lambda _: Grid())
    elements = np.zeros((40, 4, 6), np.bool_)
    for row in range(9, 12):  # the last of four shares of twelve rows
        elements[row // 4 * 16 : row // 4 * 16 + 16, row % 4] = True
    text = "y differs  [EngineInference; threads 4, run 0 of data set 0, buffers at the end of their pages]"
    folded.add_violations([Violation(Kind.VARIES_WITH_THREADS, text, 0, 0, "y", elements)], DATA[0])
    folded.add_violations([Violation(Kind.LEAK, "NetDestroy leaves 1 allocation", 0)] * 2, DATA[1])
    varies, leak = folded.problems
    assert "have thread = 3" in varies.detail
    assert varies.again == ""
    assert str(leak) == "leak on gaussian:2: NetDestroy leaves 1 allocation; seen 2 times"
