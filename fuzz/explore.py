"""One chunk of a campaign: Hypothesis draws cases from a seed, every case is checked, a failure is shrunk and saved.

A chunk depends on its seed and number of examples alone, not on time, other chunks or the number of processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from fuzz.case import Case, DataSeed
from fuzz.checker import Report, check_case
from fuzz.findings import Finding, InFlight, save
from fuzz.reduce import reduce_graph
from fuzz.regimes import REGIMES
from fuzz.strategies import cases
from nn512.graph import Graph, format_graph

SHRINKING = 120
"""Cases that are checked at most while Hypothesis shrinks a failure; then the smallest so far is taken."""

Check = Callable[[Case], Report]


@dataclass(frozen=True, slots=True)
class Explorer:
    """What a chunk needs: where findings go, what hears of every case, and when to stop.

    `stop` is asked before every case. `show` hears of each drawn case once, shrinking aside. Tests replace `check`.
    """

    directory: Path
    show: Callable[[Report], None]
    stop: Callable[[], bool] = lambda: False
    check: Check = check_case
    in_flight: InFlight | None = None
    regimes: tuple[str, ...] = tuple(REGIMES)

    def chunk(self, seed: int, examples: int) -> list[Finding]:
        """Draw and check `examples` cases; returns what was found. After a finding it goes on with a new seed."""
        findings = []
        remaining, attempt = examples, 0
        while remaining > 0 and not self.stop():
            search = _Search(self)
            search.run(seed * 1_000 + attempt, remaining)
            if search.failure is None:
                break
            findings.append(self.settle(search.failure, saved=search.saved))
            remaining -= max(search.drawn, 1)
            attempt += 1
        return findings

    def replay(self, case: Case) -> list[Finding]:
        """Check one given case, as those of the corpus; returns what was found."""
        report = self.look(case)
        self.show(report)
        return [self.settle(report, saved=save(report, self.directory).path)] if report.problems else []

    def look(self, case: Case) -> Report:
        """Check a case, kept on disk meanwhile."""
        if self.in_flight is not None:
            self.in_flight.set(case)
        report = self.check(case)
        if self.in_flight is not None:
            self.in_flight.clear()
        return report

    def settle(self, report: Report, saved: Path) -> Finding:
        """Reduce a failure further and save it in place of the folder `saved`."""
        best = report

        def fails(case: Case) -> bool:
            nonlocal best
            if self.stop():
                return False
            found = self.look(case)
            if _kinds(found) & _kinds(report):
                best = found
                return True
            return False

        # The data set that showed it, alone; then plain options and build; then the graph.
        culprits = [problem.data for problem in report.problems if problem.data is not None][:1]
        if culprits and len(best.case.data) > 1:
            fails(replace(best.case, data=tuple(culprits)))
        plain = Case(best.case.graph, {}, data=best.case.data)
        if plain != best.case:
            fails(plain)
        reduce_graph(best.graph, lambda graph: fails(_with_graph(best.case, graph)))
        if best.case.data and best.case.data[0].seed:
            fails(replace(best.case, data=tuple(DataSeed(data.regime, 0) for data in best.case.data)))
        return save(best, self.directory, replaces=saved)


def _with_graph(case: Case, graph: Graph) -> Case:
    return replace(case, graph=format_graph(graph))


def _kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


class _Stopped(BaseException):
    """Ends a run of Hypothesis from within an example: it lets everything pass that is no Exception."""


class _FailedError(Exception):
    """Tells Hypothesis that a case failed."""


class _Search:
    """One run of Hypothesis up to its first failure, shrunk."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._failed: set[str] = set()
        self._kinds: set[str] = set()
        self._shrinking = 0
        self.drawn = 0
        self.failure: Report | None = None
        self.saved = Path()

    def run(self, seed: int, examples: int) -> None:
        """Draw and check cases; the failure, if any, is then in `failure` and already saved once in `saved`."""
        run = hypothesis.given(cases(self._explorer.regimes))(self._example)
        run = hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=False,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )(hypothesis.seed(seed)(run))
        with contextlib.suppress(_FailedError, _Stopped):
            run()

    def _example(self, case: Case) -> None:
        explorer = self._explorer
        if case.key in self._failed:
            raise _FailedError  # from memory: Hypothesis replays its smallest failure
        if explorer.stop():
            raise _Stopped
        if self.failure is None:
            report = explorer.look(case)
            self.drawn += 1
            explorer.show(report)
            if report.problems:
                self.failure, self._kinds = report, _kinds(report)
                self._failed.add(case.key)
                self.saved = save(report, explorer.directory).path  # shrinking may not come to an end
                raise _FailedError
        elif self._shrinking < SHRINKING:
            self._shrinking += 1
            report = explorer.look(case)
            if _kinds(report) & self._kinds:
                self.failure = report
                self._failed.add(case.key)
                raise _FailedError
