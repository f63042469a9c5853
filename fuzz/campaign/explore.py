"""One chunk of a campaign: Hypothesis draws cases from a seed, every case is checked, a failure is shrunk and saved.

Failures are not left to Hypothesis to shrink: it tries other draws, eighty of them, where taking nodes away takes ten.

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
from fuzz.campaign.effort import SECONDS, Effort
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
    Of `kernels` one is forced on every case; drawn graphs have up to `layers` layers. `known` are the reduced failures
    so far.
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
    layers: int | None = None
    known: list[Report] = field(default_factory=list)

    def chunk(self, seed: int, examples: int, position: int = 0) -> list[Finding]:
        """Draw `examples` different cases and check them; returns what was found.

        The first `position` cases are only drawn: somebody has checked them.
        """
        origin = Origin(seed * SEEDS, examples, self.regimes, self.kernels, self.layers)
        findings: list[Finding] = []
        raised: list[Exception] = []
        seen: set[str] = set()
        since = processor_seconds()

        def example(case: Case) -> None:
            nonlocal since
            if case.key in seen:
                return  # Hypothesis likes to vary what changes nothing
            if self.stop() or len(seen) == examples:
                raise _StoppedError
            seen.add(case.key)
            if len(seen) <= position:
                return
            drawn = processor_seconds() - since
            try:
                findings.extend(self.judge(case, origin, drawn))
            except Exception as error:  # Hypothesis would take it for a failing example, and draw that again
                raised.append(error)
                raise _StoppedError from error
            since = processor_seconds()

        with contextlib.suppress(_StoppedError):
            _draw(origin, example)
        if raised:
            raise raised[0]
        return findings

    def edges(self, kernel: str, seed: int, position: int = 0) -> list[Finding]:
        """Check the nets for the edge classes of a kernel, but the first `position` ones; returns what was found.

        Data have the seed. Failures that look alike are only counted, as in a chunk.
        """
        origin = Origin(seed, 0, self.regimes, (kernel,))
        findings: list[Finding] = []
        for case in itertools.islice(edge_cases(kernel, self.regimes, seed), position, None):
            if self.stop():
                break
            findings += self.judge(case, origin)
        return findings

    def judge(self, case: Case, origin: Origin, drawn: float = 0.0) -> list[Finding]:
        """Check one case of `origin`, which took `drawn` seconds to draw; returns what was found, made small.

        A failure that looks like one that was shrunk often enough is only counted.
        """
        report = self.look(case)
        seconds = {**report.seconds, "draw": report.seconds.get("draw", 0.0) + drawn}
        report = replace(report, id=str(replace(origin, key=case.key)), seconds=seconds)
        if report.problems:
            report = localized(report)
        if not report.problems or self.familiar(report):
            self.show(report)
            return []
        folder = self.keep(report)
        self.show(report)  # what is counted and failed is on disk
        return [self.settle(report, self.effort(), folder)]

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
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    with without_local_constants():
        for number in range(min(SEEDS, 2 * origin.examples)):
            drawn = cases(origin.regimes, origin.kernels, origin.turn(number), origin.layers)
            few(hypothesis.seed(origin.seed + number)(hypothesis.given(drawn)(example)))()


class _StoppedError(BaseException):
    """Ends a run of Hypothesis from within an example: it lets everything pass that is no Exception."""
