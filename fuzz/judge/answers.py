"""Judges systems that answer by themselves: no C to build, no sandbox, only what they make of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import DataSet
from fuzz.judge.compare import Verdict
from fuzz.judge.folding import Folded
from fuzz.judge.layers import grid_of
from fuzz.judge.report import Culprit, Report
from fuzz.judge.standard import judged
from fuzz.judge.steps import Steps
from fuzz.problem import Problem
from fuzz.targets.base import Answers, Refused
from nn512.graph import Graph


def check_answers(
    case: Case, graph: Graph, name: str, answers: Answers, data: Sequence[DataSet], steps: Steps
) -> Report:
    """Compare what the system `name` answers with the reference; it stops where it crashes, hangs or refuses."""
    report = Report(case, graph, name, declared=answers.profile)
    outputs = [output.from_tensor for output in graph.outputs]
    folded = Folded(lambda output: grid_of(graph, report.layers, output))
    verdicts: dict[DataSeed, tuple[Verdict, ...]] = {}
    culprit: Culprit | None = None
    for number, data_set in enumerate(data):
        seed = DataSeed(data_set.regime, data_set.seed)
        steps.running(number, seed)
        got = answers.outputs(data_set.params, data_set.inputs)
        if isinstance(got, Refused):
            return replace(report, refused=got.why)
        if isinstance(got, Problem):
            return replace(report, problems=(replace(got, data=seed),), verdicts=verdicts, culprit=Culprit(data_set))
        standard, verdicts[seed] = judged(report, data_set, got, outputs, steps, number)
        folded.add_verdicts(verdicts[seed], seed)
        if culprit is None and folded.problems:
            culprit = Culprit(data_set, standard.expected, {o: standard.allowed(o) for o in outputs}, got)
    return replace(report, problems=folded.problems, verdicts=verdicts, executed=True, culprit=culprit)
