"""One chunk of a campaign: Hypothesis draws cases from a seed, every case is checked, a failure is shrunk and saved.

What a chunk draws depends on its seed and number of examples alone, not on time, other chunks, the number of processes
or what is found: so it can be interrupted after any case and gone on with by somebody else.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

import nn512
from fuzz.campaign.constants import without_local_constants
from fuzz.campaign.corpus import told
from fuzz.campaign.edges import edge_cases
from fuzz.campaign.effort import DRAWING, SECONDS, Effort
from fuzz.campaign.findings import Finding, save, save_unfinished
from fuzz.campaign.identity import identity_of, suspects
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.origin import SEEDS, Origin, parse_origin
from fuzz.campaign.shrink import kinds, shrink
from fuzz.case import Case
from fuzz.draw import cases
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import check_case
from fuzz.judge.clock import processor_seconds
from fuzz.judge.localize import localized
from fuzz.judge.report import Report
from fuzz.problem import Problem, failure_text
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.graph import parse
from nn512.kernels.registry import kernel_names
from nn512.toolchain import machine_faults

ENOUGH = 2
"""Failures that look alike and are shrunk; more of them are only counted."""

FEW = 2
"""Examples of one run of Hypothesis: the simplest and a new one. Of more it would make most by varying that."""

Check = Callable[[Case], Report]


@dataclass(frozen=True, slots=True)
class Explorer:
    """What a chunk needs: where findings go, what hears of every case, and when to stop.

    `stop` is asked before every drawn case, `interrupted` while a failure is shrunk, which may take `shrink_seconds`.
    `show` hears of each drawn case once, `began` of the folder of one that failed and is shrunk now, `tell` of the
    cases that are checked meanwhile, `note` of what it became, once that is kept. Tests replace `check`.
    Of `kernels` one is forced on every case. `known` are the reduced failures so far.
    """

    directory: Path
    show: Callable[[Report], None]
    stop: Callable[[], bool] = lambda: False
    interrupted: Callable[[], bool] = lambda: False
    tell: Callable[[int, int], None] = lambda done, of: None  # noqa: ARG005 - names say what is told
    began: Callable[[Path], None] = lambda folder: None  # noqa: ARG005 - likewise
    note: Callable[[Finding], None] = lambda finding: None  # noqa: ARG005 - likewise
    shrink_seconds: float = SECONDS
    check: Check = check_case
    in_flight: InFlight | None = None
    regimes: tuple[str, ...] = tuple(REGIMES)
    kernels: tuple[str, ...] = ()
    known: list[Report] = field(default_factory=list)

    def chunk(self, seed: int, examples: int, position: int = 0) -> list[Finding]:
        """Draw `examples` different cases and check them; returns what was found.

        The first `position` cases are only drawn: somebody has checked them. After a finding all cases are drawn once
        more, those before it from memory.
        """
        findings = []
        seen: set[str] = set()
        while not self.stop():
            search = _Search(self, seen, position)
            search.run(seed * SEEDS, examples)
            if search.failure is None:
                break
            findings.append(self.settle(search.failure, search.effort, search.saved))
        return findings

    def edges(self, kernel: str, seed: int, position: int = 0) -> list[Finding]:
        """Check the nets for the edge classes of a kernel, but the first `position` ones; returns what was found.

        Data have the seed. Failures that look alike are only counted, as in a chunk.
        """
        origin = Origin(seed, 0, self.regimes, (kernel,))
        findings = []
        for case in itertools.islice(edge_cases(kernel, self.regimes, seed), position, None):
            if self.stop():
                break
            report = replace(self.look(case), id=str(replace(origin, key=case.key)))
            if report.problems:
                report = localized(report)
            if not report.problems or self.familiar(report):
                self.show(report)
                continue
            folder = self.keep(report)
            self.show(report)
            findings.append(self.settle(report, self.effort(), folder))
        return findings

    def replay(self, case: Case, name: str = "") -> list[Finding]:
        """Check one given case, as those of the corpus under their name; returns what was found."""
        report = replace(self.look(case), id=name)
        folder = self.keep(report) if report.problems else None
        self.show(report)
        return [] if folder is None else [self.settle(report, self.effort(), folder)]

    def keep(self, report: Report) -> Path:
        """Save a failure before it is shrunk, which may not come to an end."""
        folder = save_unfinished(report, self.directory)
        self.began(folder)
        return folder

    def effort(self) -> Effort:
        """What may be spent on a failure."""
        return Effort(seconds=self.shrink_seconds, stopped=self.interrupted, tell=self.tell)

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

    def settle(self, report: Report, effort: Effort, saved: Path) -> Finding:
        """Reduce a failure further and save it in place of the folder `saved`."""
        best = shrink(report, self.look, localized, effort)
        self.known.append(best)
        finding = save(replace(best, id=report.id), self.directory, replaces=saved, how=effort.told)
        self.note(finding)
        return finding

    def familiar(self, report: Report) -> bool:
        """Whether a failure looks like one that was shrunk often enough: same message, or same kind in its layer.

        Otherwise a campaign would spend its time shrinking the same fault again and again.
        """
        return sum(_alike(known, report) for known in self.known) >= ENOUGH


def _alike(known: Report, report: Report) -> bool:
    """Whether two failures may be one fault: of the layer at fault, or of all where it was not found."""
    if identity_of(known) == identity_of(report):
        return True
    if any(problem.data is None for problem in (*known.problems, *report.problems)) or not kinds(known) & kinds(report):
        return False
    if known.place is not None and report.place is not None:
        return known.place.layer.kernel == report.place.layer.kernel
    return suspects(known) <= suspects(report)


def regenerate(name: str) -> Case | None:
    """The case that a campaign called so, drawn anew; None for what is no such name.

    Raises UsageError where it is not drawn any more: by another version of this project or of Hypothesis.
    """
    origin = parse_origin(name)
    if origin is None:
        return None
    found = _drawn(origin) if origin.examples else _of_edges(origin)
    if found is None:
        raise UsageError(
            f"case {name} is not drawn here: names of cases hold for one version of nn512 and of Hypothesis, "
            f"here {nn512.__version__} and {hypothesis.__version__}"
        )
    return found


def _of_edges(origin: Origin) -> Case | None:
    kernel = origin.kernels[0] if origin.kernels else ""
    found = edge_cases(kernel, origin.regimes, origin.seed) if kernel in kernel_names() else ()
    return next((case for case in found if case.key == origin.key), None)


def _drawn(origin: Origin) -> Case | None:
    found: list[Case] = []

    def example(case: Case) -> None:
        if case.key == origin.key:
            found.append(case)
            raise _StoppedError

    with contextlib.suppress(_StoppedError):
        _draw(origin, example)
    return found[0] if found else None


def _draw(origin: Origin, example: Callable[[Case], None]) -> None:
    """Give cases to `example` until it raises something, in an order that depends on `origin` alone."""
    few = hypothesis.settings(
        max_examples=FEW,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    with without_local_constants():
        for number in range(min(SEEDS, 2 * origin.examples)):
            drawn = cases(origin.regimes, origin.kernels, origin.turn(number))
            few(hypothesis.seed(origin.seed + number)(hypothesis.given(drawn)(example)))()


class _StoppedError(BaseException):
    """Ends a run of Hypothesis from within an example: it lets everything pass that is no Exception."""


class _FailedError(Exception):
    """Tells Hypothesis that a case failed."""


class _Search:
    """One run of Hypothesis up to its first failure, shrunk."""

    def __init__(self, explorer: Explorer, seen: set[str], position: int) -> None:
        self._explorer = explorer
        self._failed: set[str] = set()
        self._seen = seen
        self._position = position
        self._kinds: set[str] = set()
        self._regimes: set[str] = set()
        self._refusal: CannotRunError | None = None
        self._since = processor_seconds()
        self._origin = Origin(0, 0, ())
        self.effort = explorer.effort()
        self.failure: Report | None = None
        self.saved = Path()

    def run(self, seed: int, examples: int) -> None:
        """Draw and check cases; the failure, if any, is then in `failure` and already saved once in `saved`."""
        self._origin = Origin(seed, examples, self._explorer.regimes, self._explorer.kernels)
        with contextlib.suppress(_FailedError, _StoppedError):
            _draw(self._origin, self._example)
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
        if case.key in self._seen:
            return False  # Hypothesis likes to vary what changes nothing
        if self.failure is not None:
            return self._still_fails(case)
        if self._explorer.stop() or len(self._seen) == self._origin.examples:
            raise _StoppedError
        self._seen.add(case.key)
        if len(self._seen) <= self._position:
            return False
        drawn = processor_seconds() - self._since
        report = self._explorer.look(case)
        seconds = {**report.seconds, "draw": report.seconds.get("draw", 0.0) + drawn}
        report = replace(report, id=str(replace(self._origin, key=case.key)), seconds=seconds)
        if report.problems:
            report = localized(report)
        self._since = processor_seconds()
        if not report.problems or self._explorer.familiar(report):
            self._explorer.show(report)
            return False
        self.failure, self._kinds = report, kinds(report)
        self._regimes = {problem.data.regime for problem in report.problems if problem.data is not None}
        self._failed.add(case.key)
        self.saved = self._explorer.keep(report)
        self._explorer.show(report)  # what is counted and failed is on disk
        self.effort = self._explorer.effort()
        if report.place is not None or report.declared:
            # The layer alone is a better beginning than what Hypothesis would come to. Systems may be slow to load a
            # net, and removing nodes takes ten where Hypothesis takes eighty.
            raise _StoppedError
        return True

    def _still_fails(self, case: Case) -> bool:
        if self.effort.done >= DRAWING or not self.effort.spend():
            raise _StoppedError  # nothing that Hypothesis draws from here on would be checked
        # Only the kinds of data that failed are worth running again.
        data = tuple(seed for seed in case.data if seed.regime in self._regimes)
        report = self._explorer.look(replace(case, data=data or case.data))
        if not kinds(report) & self._kinds:
            return False
        assert self.failure is not None
        self.failure = replace(report, id=self.failure.id)
        self._failed.add(case.key)
        return True
