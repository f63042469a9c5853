"""A worker process: it checks chunk after chunk, and tells its parent what it saw."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeAlias

from fuzz.campaign.counted import CountingLines
from fuzz.campaign.crew import Done, with_parent
from fuzz.campaign.effort import SECONDS
from fuzz.campaign.explore import Check, Explorer
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.ledger import WHOLE, Shard
from fuzz.campaign.stored import load
from fuzz.campaign.tally import CaseSummary, FindingNote
from fuzz.case import Case
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from fuzz.run.checks import TIMEOUT, Checks
from fuzz.run.runners import Runner
from fuzz.targets import OURS, Target
from fuzz.targets.registry import target_of
from nn512.errors import Nn512Error

CHUNK = 50
"""Cases per chunk."""

MOST_FINDINGS = 10
"""A campaign ends after that many different findings where nobody says otherwise: there is enough to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a campaign shall do. `seconds` and `examples` bound it; the files in `corpus` come first.

    Of `kernels` every chunk forces another one in turn; without them options are drawn like everything else. Graphs
    have up to `layers` layers. A failure is shrunk for `shrink_seconds`, even if the time of the campaign is over.
    Faults in `baseline` are known already; after `max_findings` others the campaign ends. Only the chunks of `shard`
    are checked. `target` is the name of what is, and `profile` by which algorithms it computes (see
    `fuzz.targets.registry`). `sanitize` names sanitizers with which the C is built: workers find them in $NN512_RUNNER,
    which the command line has set. C without progress for `timeout` seconds hangs; `target_seconds`, if not 0, are what
    a generator or a system may take for a graph. With `edges` nothing is drawn: a chunk is the nets for all edge
    classes of one of `kernels` (see `fuzz.campaign.edges`). With `coverage` executed lines of C are counted.
    """

    directory: Path
    seed: int = 0
    jobs: int = 1
    seconds: float | None = None
    examples: int | None = None
    regimes: tuple[str, ...] = tuple(REGIMES)
    corpus: tuple[Path, ...] = ()
    chunk: int = CHUNK
    kernels: tuple[str, ...] = ()
    layers: int | None = None
    shrink_seconds: float = SECONDS
    baseline: frozenset[str] = frozenset()
    max_findings: int = MOST_FINDINGS
    shard: Shard = WHOLE
    target: str = OURS.name
    profile: str = ""
    sanitize: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    target_seconds: float = 0.0
    edges: bool = False
    coverage: bool = False

    @property
    def name(self) -> str:
        """Of which seed, and which part of it."""
        part = "" if self.shard.of == 1 else f", shard {self.shard}"
        return f"{'edge classes, ' if self.edges else ''}seed {self.seed}{part}"


SLOW_REGIMES = ("exact", "impulse", "gaussian", "nonfinite")
"""Data regimes in emulators and under sanitizers, where a run takes long, and values are what the processor has."""


def regimes_for(runner: Runner) -> tuple[str, ...]:
    """The data regimes of a campaign with this runner."""
    is_slow = runner.sanitizers or runner.wrapper or runner.machine is not None
    return SLOW_REGIMES if is_slow else tuple(REGIMES)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Work for one process: a number of random cases, one file, or the edge classes of the one of `kernels`.

    Of `kernels` one is always forced.

    The first `position` cases are counted already. A case that is done `again` was counted, too, but not shrunk.
    """

    seed: int = 0
    examples: int = 0
    file: Path | None = None
    kernels: tuple[str, ...] = ()
    position: int = 0
    again: bool = False
    edges: bool = False


def chunk_count(settings: Settings) -> int | None:
    """Number of chunks of all shards of a campaign; None where only time ends it."""
    if settings.edges:
        return len(settings.kernels)
    if settings.examples is None:
        return None
    return len(settings.corpus) + -(-settings.examples // settings.chunk)


def cases_of(settings: Settings) -> int | None:
    """Number of cases of a campaign, or of its shard, more or less; None where only time ends it."""
    if settings.examples is None:
        return None
    return (len(settings.corpus) + settings.examples) // settings.shard.of


def chunk_at(settings: Settings, number: int, position: int = 0) -> Chunk:
    """Chunk `number` of a campaign: a kernel, a file of the corpus, or random cases with a seed of their own."""
    if settings.edges:
        return Chunk(settings.seed, kernels=(settings.kernels[number],), position=position, edges=True)
    if number < len(settings.corpus):
        return Chunk(file=settings.corpus[number])
    number -= len(settings.corpus)
    size = settings.chunk
    if settings.examples is not None:
        size = min(size, settings.examples - number * size)
    turn = settings.kernels[number % max(1, len(settings.kernels)) :][:1]
    # Chunk seeds of different campaigns must differ: a large stride instead of a sum.
    return Chunk(settings.seed * 1_000_003 + number, size, kernels=turn, position=position)


@dataclass(frozen=True, slots=True)
class Began:
    """A case failed, and is kept in a folder while it is shrunk."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Shrinking:
    """A worker makes a failure small: it checks case number `done` of at most `of`."""

    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker could not go on: this machine cannot run cases, or the tester itself is at fault."""

    text: str
    exit_code: int


Message: TypeAlias = CaseSummary | Began | Shrinking | FindingNote | Failure
"""What is heard of a chunk; then it is `Done`, complete if all its cases were shown."""


@dataclass(frozen=True, slots=True)
class Common:
    """What all workers of a campaign are told; `deadline` on the clock of this machine."""

    settings: Settings
    deadline: float | None


def work(connection: Connection, common: Common, note: Path, stop: Event) -> None:
    """The worker process: does chunks until it is handed None."""
    with with_parent():
        _do_chunks(connection, common, InFlight(note), stop)


def _do_chunks(connection: Connection, common: Common, in_flight: InFlight, stop: Event) -> None:
    def stopping() -> bool:
        return stop.is_set() or (common.deadline is not None and time.monotonic() > common.deadline)

    explorer = replace(
        explorer_for(common.settings, connection.send), stop=stopping, interrupted=stop.is_set, in_flight=in_flight
    )
    with contextlib.suppress(BrokenPipeError, EOFError):  # the parent is gone
        while (chunk := connection.recv()) is not None:
            connection.send(do_chunk(chunk, explorer, connection.send))


def _check(case: Case, target: Target, checks: Checks) -> Report:
    """A case; every eighth has to endure, because what shows then is much the same in all nets."""
    endures = checks.endurance and any(seed.seed % 8 == 0 for seed in case.data[:1])
    return check_case(case, target=target, checks=replace(checks, endurance=endures))


def explorer_for(settings: Settings, tell: Callable[[Message], None]) -> Explorer:
    """What explores the chunks of a campaign and tells what it sees."""
    checks = Checks(timeout=settings.timeout)
    target = target_of(settings.target, settings.profile, settings.target_seconds)
    check: Check = functools.partial(_check, target=target, checks=checks)
    return Explorer(
        settings.directory,
        show=lambda report: tell(CaseSummary.of(report)),
        tell=lambda done, of: tell(Shrinking(done, of)),
        began=lambda folder: tell(Began(folder)),
        note=lambda finding: tell(FindingNote.of(finding)),
        shrink_seconds=settings.shrink_seconds,
        regimes=settings.regimes,
        layers=settings.layers,
        check=CountingLines(check, checks) if settings.coverage else check,
    )


def do_chunk(chunk: Chunk, explorer: Explorer, tell: Callable[[Message], None]) -> Done:
    """Check a chunk; what this machine cannot do is told as a Failure."""
    try:
        _do(chunk, explorer)
    except Nn512Error as error:
        tell(Failure(str(error), error.exit_code))
        return Done(complete=False)
    return Done(complete=not explorer.stop())


def _do(chunk: Chunk, explorer: Explorer) -> None:
    if chunk.edges:
        explorer.edges(chunk.kernels[0], chunk.seed, chunk.position)
    elif chunk.file is None:
        replace(explorer, kernels=chunk.kernels).chunk(chunk.seed, chunk.examples, chunk.position)
    elif chunk.again:
        replace(explorer, show=lambda _: None).replay(load(chunk.file).case)
    else:
        explorer.replay(load(chunk.file).case, chunk.file.stem)
