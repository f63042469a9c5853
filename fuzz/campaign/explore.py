"""One chunk of a campaign: Hypothesis draws cases from a seed, every case is checked, a failure is shrunk and saved.

A chunk depends on its seed and number of examples alone, not on time, other chunks or the number of processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from fuzz.campaign.constants import without_local_constants
from fuzz.campaign.corpus import told
from fuzz.campaign.findings import Finding, save, signature_of
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.reduce import reduce_graph, with_plain_names
from fuzz.case import Case, DataSeed
from fuzz.draw import cases
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from fuzz.problem import Problem, failure_text
from nn512.errors import CannotRunError, MachineError
from nn512.graph import Graph, format_graph, parse
from nn512.toolchain import machine_faults

SHRINKING = 80
"""Cases that are checked at most while Hypothesis shrinks a failure; then the smallest so far is taken."""

ENOUGH = 2
"""Failures that look alike and are shrunk and kept; more of them are only counted."""

Check = Callable[[Case], Report]


@dataclass(frozen=True, slots=True)
class Explorer:
    """What a chunk needs: where findings go, what hears of every case, and when to stop.

    `stop` is asked before every case. `show` hears of each drawn case once, shrinking aside. Tests replace `check`.
    Of `kernels` one is forced on every case. `known` are the reduced failures so far.
    """

    directory: Path
    show: Callable[[Report], None]
    stop: Callable[[], bool] = lambda: False
    check: Check = check_case
    in_flight: InFlight | None = None
    regimes: tuple[str, ...] = tuple(REGIMES)
    kernels: tuple[str, ...] = ()
    known: list[Report] = field(default_factory=list)

    def chunk(self, seed: int, examples: int) -> list[Finding]:
        """Draw and check `examples` different cases; returns what was found. A finding is followed by a new seed."""
        findings = []
        remaining, attempt = examples, 0
        passed: set[str] = set()
        while remaining > 0 and not self.stop():
            search = _Search(self, passed)
            search.run(seed * 1_000 + attempt, remaining)
            if search.failure is not None:
                findings.append(self.settle(search.failure, saved=search.saved))
            elif search.drawn == 0:
                break
            remaining -= search.drawn
            attempt += 1
        return findings

    def replay(self, case: Case) -> list[Finding]:
        """Check one given case, as those of the corpus; returns what was found."""
        report = self.look(case)
        self.show(report)
        return [self.settle(report, saved=save(report, self.directory).path)] if report.problems else []

    def look(self, case: Case) -> Report:
        """Check a case, kept on disk meanwhile. What the tester itself stumbles over is a problem of the report.

        Raises CannotRunError where this machine cannot judge; if it failed with this case, the message has the case.
        """
        try:
            with machine_faults("this case cannot be checked"):
                if self.in_flight is not None:
                    self.in_flight.set(case)
                report = self.check(case)
        except MachineError as error:
            raise MachineError(f"{error}\n{told(case)}") from error
        except CannotRunError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of the tester must not lose the case
            problem = Problem("tester", failure_text(error))
            report = Report(case, parse(case.graph, "net.graph"), "none: the tester failed", problems=(problem,))
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
        # Plain names last: findings of one fault then tend to be the same case, and so the same folder.
        if (renamed := with_plain_names(best.graph)).source.text != best.case.graph:
            fails(_with_graph(best.case, renamed))
        if best.case.data and best.case.data[0].seed:
            fails(replace(best.case, data=tuple(DataSeed(data.regime, 0) for data in best.case.data)))
        self.known.append(best)
        return save(best, self.directory, replaces=saved)

    def familiar(self, report: Report) -> bool:
        """Whether a failure looks like one that was shrunk often enough: same message, or same kind in its kernels.

        Otherwise a campaign would spend its time shrinking the same fault again and again.
        """

        def alike(known: Report) -> bool:
            if signature_of(known) == signature_of(report):
                return True
            on_data = all(problem.data is not None for problem in (*known.problems, *report.problems))
            return on_data and bool(_kinds(known) & _kinds(report)) and _kernels(known) <= _kernels(report)

        return sum(map(alike, self.known)) >= ENOUGH


def _with_graph(case: Case, graph: Graph) -> Case:
    return replace(case, graph=format_graph(graph))


def _kernels(report: Report) -> set[str]:
    return {layer.kernel for layer in report.layers}


def _kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


class _StoppedError(BaseException):
    """Ends a run of Hypothesis from within an example: it lets everything pass that is no Exception."""


class _FailedError(Exception):
    """Tells Hypothesis that a case failed."""


class _Search:
    """One run of Hypothesis up to its first failure, shrunk."""

    def __init__(self, explorer: Explorer, passed: set[str]) -> None:
        self._explorer = explorer
        self._failed: set[str] = set()
        self._passed = passed
        self._kinds: set[str] = set()
        self._regimes: set[str] = set()
        self._shrinking = 0
        self._refusal: CannotRunError | None = None
        self._wanted = 0
        self.drawn = 0
        self.failure: Report | None = None
        self.saved = Path()

    def run(self, seed: int, examples: int) -> None:
        """Draw and check cases; the failure, if any, is then in `failure` and already saved once in `saved`."""
        self._wanted = examples
        run = hypothesis.given(cases(self._explorer.regimes, self._explorer.kernels))(self._example)
        run = hypothesis.settings(
            max_examples=2 * examples + 10,  # it counts repetitions, too
            database=None,
            deadline=None,
            derandomize=False,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )(hypothesis.seed(seed)(run))
        with contextlib.suppress(_FailedError, _StoppedError), without_local_constants():
            run()
        if self._refusal is not None:
            raise self._refusal

    def _example(self, case: Case) -> None:
        try:
            failed = self._fails(case)
        except CannotRunError as error:
            self._refusal = error
            raise _StoppedError from error
        if failed:
            raise _FailedError  # from one place: Hypothesis tells failures apart by their lines

    def _fails(self, case: Case) -> bool:
        if case.key in self._failed:
            return True  # from memory: Hypothesis replays its smallest failure, which may depend on timing
        if self._explorer.stop():
            raise _StoppedError
        if case.key in self._passed:
            return False  # Hypothesis likes to vary what changes nothing
        if self.failure is not None:
            return self._still_fails(case)
        if self.drawn == self._wanted:
            raise _StoppedError
        self.drawn += 1
        report = self._explorer.look(case)
        self._explorer.show(report)
        if not report.problems or self._explorer.familiar(report):
            self._passed.add(case.key)
            return False
        self.failure, self._kinds = report, _kinds(report)
        self._regimes = {problem.data.regime for problem in report.problems if problem.data is not None}
        self._failed.add(case.key)
        self.saved = save(report, self._explorer.directory).path  # shrinking may not come to an end
        return True

    def _still_fails(self, case: Case) -> bool:
        if self._shrinking == SHRINKING:
            return False
        self._shrinking += 1
        # Only the kinds of data that failed are worth running again.
        data = tuple(seed for seed in case.data if seed.regime in self._regimes)
        report = self._explorer.look(replace(case, data=data or case.data))
        if not _kinds(report) & self._kinds:
            return False
        self.failure = report
        self._failed.add(case.key)
        return True
