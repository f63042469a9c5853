"""A worker process: it checks chunk after chunk, and tells its parent what it saw."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeAlias

from fuzz.campaign.effort import SECONDS
from fuzz.campaign.explore import Explorer
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.ledger import WHOLE, Shard
from fuzz.campaign.stored import load
from fuzz.campaign.tally import CaseSummary, FindingNote
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import check_case
from fuzz.run.runners import Runner
from fuzz.targets import OURS
from fuzz.targets.registry import target_of
from nn512.errors import Nn512Error
from nn512.signals import EndedError, ending_on_signals

CHUNK = 50
"""Cases per chunk."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a campaign shall do. `seconds` and `examples` bound it; the files in `corpus` come first.

    Of `kernels` every chunk forces another one in turn; without them options are drawn like everything else. A failure
    is shrunk for `shrink_seconds`, even if the time of the campaign is over. Faults in `baseline` are known already.
    Only the chunks of `shard` are checked. `target` is the name of what is, and `profile` by which algorithms it
    computes (see `fuzz.targets.registry`). `sanitize` names sanitizers with which the C is built: workers find them in
    $NN512_RUNNER, which the command line has set.
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
    shrink_seconds: float = SECONDS
    baseline: frozenset[str] = frozenset()
    shard: Shard = WHOLE
    target: str = OURS.name
    profile: str = ""
    sanitize: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of which seed, and which part of it."""
        return f"seed {self.seed}" + ("" if self.shard.of == 1 else f", shard {self.shard}")


SOFT_REGIMES = ("exact", "impulse", "gaussian", "nonfinite")
"""Data regimes where the intrinsics are emulated, which takes ten times as long."""


def regimes_for(runner: Runner) -> tuple[str, ...]:
    """The data regimes of a campaign with this runner."""
    return tuple(REGIMES) if runner.slowdown == 1.0 else SOFT_REGIMES


@dataclass(frozen=True, slots=True)
class Chunk:
    """Work for one process: a number of random cases, or one file. Of `kernels` one is always forced.

    The first `position` cases are counted already. A case that is done `again` was counted, too, but not shrunk.
    """

    seed: int = 0
    examples: int = 0
    file: Path | None = None
    kernels: tuple[str, ...] = ()
    position: int = 0
    again: bool = False


def chunk_count(settings: Settings) -> int | None:
    """Number of chunks of all shards of a campaign; None where only time ends it."""
    if settings.examples is None:
        return None
    return len(settings.corpus) + -(-settings.examples // settings.chunk)


def chunk_at(settings: Settings, number: int, position: int = 0) -> Chunk:
    """Chunk `number` of a campaign: a file of the corpus, or random cases with a seed of their own."""
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
class Done:
    """A worker has finished its chunk, or stopped in it; `complete` if all its cases were shown."""

    complete: bool


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


Message: TypeAlias = CaseSummary | Began | Shrinking | FindingNote | Done | Failure


def work(connection: Connection, settings: Settings, in_flight: InFlight, stop: Event, deadline: float | None) -> None:
    """The worker process: does chunks until it is handed None."""
    # Ctrl-C goes to all processes of a terminal; the parent says when to stop. Compilers started here inherit this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with ending_on_signals():
            _do_chunks(connection, settings, in_flight, stop, deadline)
    except EndedError as ended:
        sys.exit(ended.exit_code)


def _end_with_parent() -> None:
    """Wait until the parent has ended, even if it was killed, and end as on SIGTERM: with compilers and scratch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _do_chunks(
    connection: Connection, settings: Settings, in_flight: InFlight, stop: Event, deadline: float | None
) -> None:
    def stopping() -> bool:
        return stop.is_set() or (deadline is not None and time.monotonic() > deadline)

    explorer = Explorer(
        settings.directory,
        show=lambda report: connection.send(CaseSummary.of(report)),
        stop=stopping,
        interrupted=stop.is_set,
        tell=lambda done, of: connection.send(Shrinking(done, of)),
        began=lambda folder: connection.send(Began(folder)),
        note=lambda finding: connection.send(FindingNote.of(finding)),
        shrink_seconds=settings.shrink_seconds,
        in_flight=in_flight,
        regimes=settings.regimes,
        check=functools.partial(check_case, target=target_of(settings.target, settings.profile)),
    )
    with contextlib.suppress(BrokenPipeError, EOFError):  # the parent is gone
        while (chunk := connection.recv()) is not None:
            try:
                _do(chunk, explorer)
                connection.send(Done(complete=not stopping()))
            except Nn512Error as error:
                connection.send(Failure(str(error), error.exit_code))
                return


def _do(chunk: Chunk, explorer: Explorer) -> None:
    if chunk.file is None:
        replace(explorer, kernels=chunk.kernels).chunk(chunk.seed, chunk.examples, chunk.position)
    elif chunk.again:
        replace(explorer, show=lambda _: None).replay(load(chunk.file).case)
    else:
        explorer.replay(load(chunk.file).case, chunk.file.stem)
