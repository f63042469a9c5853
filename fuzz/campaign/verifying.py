"""A net that somebody names: checked, told, made small and kept if it fails; here or in a worker process."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Protocol

from fuzz.campaign.crew import Done, with_parent
from fuzz.campaign.effort import SECONDS, Effort
from fuzz.campaign.findings import Finding, save, save_unfinished
from fuzz.campaign.shrink import kinds, shrink
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import GIVEN, REGIMES, DataSet
from fuzz.judge.checker import check_case
from fuzz.judge.localize import localized
from fuzz.judge.report import Report
from fuzz.judge.telling import conclusion, told
from fuzz.run.checks import TIMEOUT, Checks, checks_for
from fuzz.run.demands import waive
from fuzz.run.runners import runner_for
from fuzz.targets import OURS, Folder, Target
from fuzz.targets.registry import target_of
from nn512.errors import InternalError, Nn512Error
from nn512.graph import parse

_SHOWN = 20
"""Lines of a small net that are shown."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be checked, and how: `case` is of the graph that goes by `name`.

    `source` is a folder whose C is checked instead of what `target` makes, `profile` what either computes. A failure
    is kept below `out`, made small before for `shrink_seconds`; with 0 it is kept as it is. C without progress for
    `timeout` seconds hangs; `target_seconds`, if not 0, are what a generator or a system may take. Demands on C that
    `without` names are waived (see `fuzz.run.demands`).
    """

    name: str
    case: Case
    threads: int = 4
    out: Path = Path("findings")
    target: str = OURS.name
    profile: str = ""
    source: Path | None = None
    shrink_seconds: float = SECONDS
    timeout: float = TIMEOUT
    without: tuple[str, ...] = ()
    target_seconds: float = 0.0

    def subject(self) -> Target:
        """What is checked. Raises UsageError, and CannotRunError for what is not here."""
        if self.source is not None:
            return Folder(self.source, self.profile)
        return target_of(self.target, self.profile, self.target_seconds)


class Listener(Protocol):
    """Who waits for a verdict."""

    def step(self, says: str, share: float) -> None:
        """What is done now, and which share of it was done before."""

    def say(self, lines: Sequence[str]) -> None:
        """Lines that are known already."""


@dataclass(frozen=True, slots=True)
class Step:
    """As `Listener.step`, from a worker."""

    says: str
    share: float


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a net. `code` is an exit code, `headline` the verdict in a line, `lines` all that was said.

    A net that could not be judged has an `error` that says why. `details` are for programs.
    """

    name: str
    code: int
    headline: str
    lines: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    fault: str = ""
    path: Path | None = None
    details: dict[str, object] = field(default_factory=dict)


def verify(wish: Wish, listener: Listener, data: Sequence[DataSet] = ()) -> Verified:
    """Check a net on `data`, or on what its case draws; what fails is kept.

    Raises UsageError and CannotRunError where nothing can be judged.
    """
    start, said = time.monotonic(), list[str]()

    def say(lines: Sequence[str]) -> None:
        said.extend(lines)
        listener.say(lines)

    runner, target = runner_for(), wish.subject()
    checks = waive(checks_for(parse(wish.case.graph, wish.name), wish.threads, wish.timeout), wish.without)
    # By position: so it is called where tests put something in its place.
    report = localized(check_case(wish.case, data, runner, checks, target, listener.step))
    say(list(told(report)))
    demands = waive(Checks(timeout=wish.timeout), wish.without)
    look = functools.partial(check_case, runner=runner, target=target, checks=demands)
    finding = kept(report, wish, look, listener, say)
    return Verified(
        wish.name,
        code=0 if report.verified else 1,
        headline=conclusion(report),
        lines=tuple(said),
        seconds=time.monotonic() - start,
        fault="" if finding is None else finding.identity.name,
        path=None if finding is None else finding.path,
        details=_details(report, finding),
    )


def kept(
    report: Report,
    wish: Wish,
    look: Callable[[Case], Report],
    listener: Listener,
    say: Callable[[Sequence[str]], None],
) -> Finding | None:
    """The finding that a failure becomes, if it is one."""
    if not report.problems:
        return None
    effort = Effort(
        seconds=wish.shrink_seconds,
        tell=lambda done, of: listener.step(f"shrinking, {done} of {of} (--no-shrink leaves it out)", done / of),
    )
    unfinished = None
    if wish.shrink_seconds and wish.source is None:
        unfinished = save_unfinished(report, wish.out)  # should shrinking not come to an end
        report = _shrunk(report, look, effort, say)
    finding = save(report, wish.out, replaces=unfinished, how=effort.told if effort.done else "not shrunk")
    say([str(finding.identity), f"kept in {finding.path}"])
    return finding


def _shrunk(
    report: Report, look: Callable[[Case], Report], effort: Effort, say: Callable[[Sequence[str]], None]
) -> Report:
    """The failure that `look` sees made small; what a user gave is replaced by drawn data, if they show it as well."""
    start = report
    if any(seed.regime == GIVEN for seed in report.case.data):
        drawn = replace(report.case, data=tuple(DataSeed(regime, 0) for regime in REGIMES))
        start = look(drawn) if effort.spend() else report
        if not kinds(start) & kinds(report):
            say(["not shrunk: random data do not show it, and the arrays given fit this graph only"])
            return report
    small = shrink(start, look, localized, effort)
    lines = small.case.graph.splitlines()
    say(
        [
            f"{effort.told}, to {len(small.graph.layers)} of {len(report.graph.layers)} layers:",
            *(f"  {line}" for line in (lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], "..."])),
        ]
    )
    return small


def _details(report: Report, finding: Finding | None) -> dict[str, object]:
    """What was found out, for programs."""
    found: dict[str, object] = {
        "target": report.target,
        "runner": report.runner,
        "outputs": [
            {
                "data": str(seed),
                "output": verdict.output,
                "outcome": verdict.outcome.value,
                "compared": verdict.compared,
                "wrong": verdict.wrong,
                "max_sigma": _number(verdict.max_sigma),
                "rms_sigma": _number(verdict.rms_sigma),
            }
            for seed, verdicts in report.verdicts.items()
            for verdict in verdicts
        ],
        "problems": [
            {"kind": p.kind, "data": None if p.data is None else str(p.data), "detail": p.detail}
            for p in report.problems
        ],
        "place": None if report.place is None else str(report.place),
        "finding": None,
    }
    if finding is not None:
        found["finding"] = {"path": str(finding.path), "fault": finding.identity.name, "shrunk": finding.how}
    return found


def _number(value: float) -> float | None:
    """A number that JSON has; None for others: an element that is infinitely wrong."""
    return value if abs(value) < float("inf") else None


def work(connection: Connection, _common: object, _note: Path, _stop: Event) -> None:
    """A worker process: it checks the net of each Wish, tells Steps and what became of it."""
    with with_parent():
        while (wish := connection.recv()) is not None:
            connection.send(attempt(wish, _Distant(connection)))
            connection.send(Done())


@dataclass(frozen=True, slots=True)
class _Distant:
    """The listener is another process, which hears all lines in the end."""

    connection: Connection

    def step(self, says: str, share: float) -> None:
        self.connection.send(Step(says, share))

    def say(self, lines: Sequence[str]) -> None:
        pass


def attempt(wish: Wish, listener: Listener) -> Verified:
    """As `verify`; what cannot be judged is told with the exit code that it would have alone."""
    start = time.monotonic()
    try:
        return verify(wish, listener)
    except Nn512Error as error:
        found = not_judged(wish.name, error)
    except Exception:  # noqa: BLE001 - one net shall not take the verdicts on the others along
        found = not_judged(wish.name, InternalError(traceback.format_exc()))
    return replace(found, seconds=time.monotonic() - start)


def not_judged(name: str, error: Nn512Error) -> Verified:
    """A net on which there is no verdict."""
    text = str(error)
    lines = [line for line in text.splitlines() if line.strip()] or [type(error).__name__]
    # The last line of a traceback says what happened, the first one of anything else.
    first = lines[-1] if isinstance(error, InternalError) else lines[0]
    return Verified(name, error.exit_code, f"NOT JUDGED: {first}", tuple(lines), error=text)


def headlines(verdicts: Sequence[Verified], total: int) -> Iterator[str]:
    """What became of so many nets: how many are right, then each that is not."""
    right = sum(verdict.code == 0 for verdict in verdicts)
    wrong, rest = [v for v in verdicts if v.code == 1], [v for v in verdicts if v.code > 1]
    parts = [f"{right} of {total} nets verified"]
    parts += [f"{len(wrong)} NOT verified"] if wrong else []
    parts += [f"{total - right - len(wrong)} NOT JUDGED"] if total > right + len(wrong) else []
    yield ", ".join(parts)
    for verdict in wrong:
        yield f"  {verdict.name}: {verdict.headline.removeprefix('NOT verified: ')}"
        if verdict.path is not None:
            yield f"    nn512 repro {verdict.path}"
    for verdict in rest:
        yield f"  {verdict.name}: {verdict.headline.removeprefix('NOT JUDGED: ')}"
