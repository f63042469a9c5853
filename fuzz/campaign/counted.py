"""A check of a case that also counts which lines of its C were executed, in a build of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fuzz.case import Case
from fuzz.judge.checker import draw, in_turn
from fuzz.judge.lines import Lines
from fuzz.judge.report import Report
from fuzz.run.checks import LIGHT, Checks
from fuzz.run.lines import CountedLines
from fuzz.run.sandbox import execute


@dataclass(frozen=True, slots=True)
class CountingLines:
    """`check`, and the lines of each case that it finds nothing wrong with, on the same data and under `checks`."""

    check: Callable[[Case], Report]
    checks: Checks

    def __call__(self, case: Case) -> Report:
        """Check one case. Raises what `check` does, and CannotRunError where lines cannot be counted."""
        report = self.check(case)
        if report.problems or report.sources is None or report.ran is None:
            return report
        sources, graph = report.sources, report.graph
        with CountedLines(graph, sources.header, sources.source, report.ran) as counted:
            for number, data in enumerate(draw(case, graph)):
                checks = LIGHT if number else self.checks
                execute(counted.executable, data.params, in_turn(data.inputs, checks), checks)
            lines = counted.lines()
        return replace(report, c_lines=Lines.of(graph.config.prefix, sources.source, report.layers, lines))
