"""Workers that do job after job for a parent and tell what they see; each may die without taking anything along.

A crew knows how work is handed out and what is heard, and nothing of what it is. `Processes` are on this machine, those
of `fuzz.campaign.cluster` anywhere.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from nn512.signals import EndedError, ending_on_signals

_PATIENCE = 10.0
"""Seconds that a worker has to clean up when it is told to end at once."""

KILLED = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}
"""Exit codes of workers that somebody else has ended."""

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Done:
    """The last that is heard of a job; `complete` if all of it was done."""

    complete: bool = True


@dataclass(frozen=True, slots=True)
class Death:
    """The last that is heard of a job whose worker died: with this exit code, None where nobody knows.

    `note` is the file in which it may have written what it was at.
    """

    code: int | None
    note: Path = Path()

    @property
    def killed(self) -> bool:
        """Whether somebody else has ended it."""
        return self.code is None or self.code in KILLED


class Crew(Protocol[Job]):
    """Who does the work."""

    @property
    def busy(self) -> bool:
        """Whether some job is under way."""

    def has_room(self) -> bool:
        """Whether somebody has nothing to do."""

    def begin(self, job: Job, work: object) -> None:
        """Give `work` to somebody who has nothing to do; what becomes of it is told by `job`. Both must have room."""

    def events(self, seconds: float) -> Iterator[tuple[Job, Any]]:
        """What is heard within some seconds, as soon as there is something: messages, then Done or Death."""

    def stop(self) -> None:
        """Let everybody end what is under way as soon as that makes sense."""

    def close(self) -> Iterator[tuple[Job, Any]]:
        """End everybody at once; what they have said by then."""


@dataclass(slots=True)
class _Worker(Generic[Job]):
    """The parent's end of a worker process."""

    process: SpawnProcess
    connection: Connection
    note: Path
    job: Job | None = None


Program = Callable[[Connection, Any, Path, Event], None]
"""What a worker process does: it receives work until that is None, and answers each with messages and then Done.

It is given the connection, what the whole crew has in common, a file for what it is at, and an event that is set when
it shall stop.
"""


class Processes(Generic[Job]):
    """At most so many processes that run a program with `common`; files of their own are in `folder`."""

    def __init__(self, program: Program, common: object, most: int, folder: Path) -> None:
        self._program = program
        self._common = common
        self._most = most
        self._folder = folder
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._workers: list[_Worker[Job]] = []
        self._started = 0

    @property
    def busy(self) -> bool:
        """Whether some job is under way."""
        return any(worker.job is not None for worker in self._workers)

    def has_room(self) -> bool:
        """Whether a process has nothing to do, or one more may be started."""
        return sum(worker.job is not None for worker in self._workers) < self._most

    def begin(self, job: Job, work: object) -> None:
        """Give work to a process that has nothing to do, or to a new one."""
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._start()
        worker.job = job
        with contextlib.suppress(BrokenPipeError):  # it died: that is heard later
            worker.connection.send(work)

    def _start(self) -> _Worker[Job]:
        note = self._folder / f"worker-{self._started}.json"
        self._started += 1
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._common, note, self._stop)
        process = self._context.Process(target=self._program, args=arguments, daemon=True)
        process.start()
        theirs.close()
        worker = _Worker[Job](process, ours, note)
        self._workers.append(worker)
        return worker

    def events(self, seconds: float) -> Iterator[tuple[Job, Any]]:
        """What is heard within some seconds, as soon as there is something."""
        ready = wait([worker.connection for worker in self._workers], timeout=seconds)
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):  # it may have died in the middle of a message
                self._workers.remove(worker)
                worker.process.join()
                worker.connection.close()
                if worker.job is not None:
                    yield worker.job, Death(worker.process.exitcode, worker.note)
                continue
            yield from self._heard(worker, message)

    @staticmethod
    def _heard(worker: _Worker[Job], message: object) -> Iterator[tuple[Job, Any]]:
        job = worker.job
        if isinstance(message, Done):
            worker.job = None
        if job is not None:
            yield job, message

    def stop(self) -> None:
        """Let every process end its case."""
        self._stop.set()

    def close(self) -> Iterator[tuple[Job, Any]]:
        """End all processes: those that have nothing to do by saying so, the others by a signal."""
        for worker in self._workers:
            if worker.job is not None:
                worker.process.terminate()
            else:
                with contextlib.suppress(BrokenPipeError):
                    worker.connection.send(None)
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()  # does nothing to one that has ended
            worker.process.join()
        workers, self._workers = self._workers, []
        for worker in workers:
            with contextlib.suppress(EOFError, OSError):
                while worker.connection.poll():
                    yield from self._heard(worker, worker.connection.recv())
            worker.connection.close()


@contextlib.contextmanager
def with_parent() -> Iterator[None]:
    """The life of a worker process: it ends with its parent, and as other programs do on signals."""
    # Ctrl-C goes to all processes of a terminal; the parent says when to stop. Compilers started here inherit this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with ending_on_signals():
            yield
    except EndedError as ended:
        sys.exit(ended.exit_code)


def _end_with_parent() -> None:
    """Wait until the parent has ended, even if it was killed, and end as on SIGTERM: with compilers and scratch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def environment_of_children(scratch: Path) -> Iterator[None]:
    """Each worker process computes on one thread, and what Hypothesis keeps goes to a directory that is removed."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    values = {**dict.fromkeys(names, "1"), "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch)}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
