"""A campaign: worker processes check the corpus and then chunk after chunk of random cases, until told to stop.

The parent hands out chunks (number i has the seed of the campaign and i), counts what comes back, shows progress and
tells the summary. With a number of examples the cases are the same for any number of jobs; with a time limit only how
many chunks there are depends on the machine. Ctrl-C lets every worker finish its case, then the summary so far is told;
what was found is on disk by then. A worker that dies does not end the campaign: its case becomes a finding.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TextIO, TypeAlias

from fuzz.case import Case
from fuzz.draw.regimes import REGIMES
from fuzz.explore import Explorer
from fuzz.findings import InFlight, load, save, told
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.report import CaseSummary, FindingNote, Tally
from fuzz.run.runners import Runner
from nn512.errors import CannotRunError, MachineError, Nn512Error, UsageError
from nn512.graph import parse
from nn512.signals import EndedError, ending_on_signals
from nn512.toolchain import machine_faults

CHUNK = 50
"""Cases per chunk."""

_KILLED = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}
"""Exit codes of workers that somebody else has ended."""

_PATIENCE = 10.0
"""Seconds that a worker has to clean up when it is told to end at once."""

MOST_FINDINGS = 10
"""A campaign ends after that many different findings: there is enough to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign shall do. `seconds` and `examples` bound it; the files in `corpus` come first."""

    directory: Path
    seed: int = 0
    jobs: int = 1
    seconds: float | None = None
    examples: int | None = None
    regimes: tuple[str, ...] = tuple(REGIMES)
    corpus: tuple[Path, ...] = ()
    chunk: int = CHUNK


SOFT_REGIMES = ("exact", "impulse", "gaussian", "nonfinite")
"""Data regimes where the intrinsics are emulated, which takes ten times as long."""


def regimes_for(runner: Runner) -> tuple[str, ...]:
    """The data regimes of a campaign with this runner."""
    return tuple(REGIMES) if runner.slowdown == 1.0 else SOFT_REGIMES


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Work for one process: a number of random cases, or one file of the corpus."""

    seed: int = 0
    examples: int = 0
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """A worker has finished its chunk."""


@dataclass(frozen=True, slots=True)
class _Error:
    """A worker could not go on: this machine cannot run cases, or the tester itself is at fault."""

    text: str
    exit_code: int


_Event: TypeAlias = CaseSummary | FindingNote | _Done | _Error


def _work(connection: Connection, plan: Plan, in_flight: InFlight, stop: Event, deadline: float | None) -> None:
    """The worker process: does chunks until it is handed None."""
    # Ctrl-C goes to all processes of a terminal; the parent says when to stop. Compilers started here inherit this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with ending_on_signals():
            _do_chunks(connection, plan, in_flight, stop, deadline)
    except EndedError as ended:
        sys.exit(ended.exit_code)


def _end_with_parent() -> None:
    """Wait until the parent has ended, even if it was killed, and end as on SIGTERM: with compilers and scratch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _do_chunks(connection: Connection, plan: Plan, in_flight: InFlight, stop: Event, deadline: float | None) -> None:
    def stopping() -> bool:
        return stop.is_set() or (deadline is not None and time.monotonic() > deadline)

    explorer = Explorer(
        plan.directory,
        show=lambda report: connection.send(CaseSummary.of(report)),
        stop=stopping,
        in_flight=in_flight,
        regimes=plan.regimes,
    )
    with contextlib.suppress(BrokenPipeError, EOFError):  # the parent is gone
        while (chunk := connection.recv()) is not None:
            try:
                if chunk.file is not None:
                    findings = explorer.replay(load(chunk.file).case)
                else:
                    findings = explorer.chunk(chunk.seed, chunk.examples)
                for finding in findings:
                    connection.send(FindingNote(finding.path, finding.signature, finding.summary))
                connection.send(_Done())
            except Nn512Error as error:
                connection.send(_Error(str(error), error.exit_code))
                return


@dataclass(slots=True)
class _Worker:
    """The parent's end of a worker process."""

    in_flight: InFlight
    process: SpawnProcess
    connection: Connection
    chunk: _Chunk | None = None


class Campaign:
    """A campaign under way."""

    def __init__(self, plan: Plan, stream: TextIO | None = None) -> None:
        self._plan = plan
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._started = time.monotonic()
        self._deadline = None if plan.seconds is None else self._started + plan.seconds
        self._progress = _Progress(stream or sys.stderr, self._started, plan.seconds)
        self._chunks = self._make_chunks()
        self._workers: list[_Worker] = []
        self._names = 0
        self._scratch = Path()
        self._errors: list[_Error] = []
        self.tally = Tally()
        if skipped := sorted(set(REGIMES) - set(plan.regimes)):
            self.tally.skips.append(f"data regimes {', '.join(skipped)}: not drawn with this runner")
        self.interrupted = False
        self.complete = False

    @property
    def seconds(self) -> float:
        """Seconds since the campaign began."""
        return time.monotonic() - self._started

    def run(self) -> int:
        """Run to the end; returns the exit code (0 fine, 1 finding or nothing verified, 130 interrupted).

        Raises CannotRunError where this machine cannot go on; the summary so far is there nevertheless.
        """
        try:
            with (
                machine_faults("cannot run a campaign"),
                tempfile.TemporaryDirectory(prefix="nn512-fuzz-", ignore_cleanup_errors=True) as directory,
                _environment_of_children(Path(directory)),
            ):
                self._scratch = Path(directory)
                self._run_workers()
            if self._errors:
                # Several workers may have had the same reason, each with a case of its own.
                text = "\n".join(dict.fromkeys(error.text for error in self._errors))
                unable = any(error.exit_code == CannotRunError.exit_code for error in self._errors)
                raise CannotRunError(text) if unable else UsageError(text)
        except CannotRunError as error:
            self.tally.lost.extend(known.text.splitlines()[0] for known in self._errors)
            if not self._errors:
                self.tally.lost.append(str(error).splitlines()[0])
            raise
        self.complete = not self.interrupted
        if self.interrupted:
            return 130
        return 0 if self.tally.good else 1

    def _run_workers(self) -> None:
        try:
            while True:
                try:
                    self._loop()
                    break
                except KeyboardInterrupt:
                    if self.interrupted:  # the second time: now
                        break
                    self.interrupted = True
                    self._stop.set()
                    self._progress.say("stopping: every job finishes its case (Ctrl-C again to stop at once)")
        finally:
            self._end_workers()
            self._progress.clear()

    def _make_chunks(self) -> Iterator[_Chunk]:
        for file in self._plan.corpus:
            yield _Chunk(file=file)
        number, remaining = 0, self._plan.examples
        while remaining is None or remaining > 0:
            size = self._plan.chunk if remaining is None else min(self._plan.chunk, remaining)
            # Chunk seeds of different campaigns must differ: a large stride instead of a sum.
            yield _Chunk(self._plan.seed * 1_000_003 + number, size)
            number += 1
            remaining = None if remaining is None else remaining - size

    def _loop(self) -> None:
        """Hand out chunks and take in events until there is nothing left to do."""
        while True:
            while len(self._workers) < self._plan.jobs and self._hand_out(None):
                pass
            if not self._workers:
                return
            self._progress.show(self.tally)
            ready = wait([worker.connection for worker in self._workers], timeout=1.0)
            for worker in [worker for worker in self._workers if worker.connection in ready]:
                try:
                    self._take_in(worker, worker.connection.recv())
                except (EOFError, ConnectionResetError):
                    self._bury(worker)

    def _over(self) -> bool:
        timed_out = self._deadline is not None and time.monotonic() > self._deadline
        return self._stop.is_set() or timed_out or bool(self._errors)

    def _hand_out(self, worker: _Worker | None) -> bool:
        """Give the next chunk to `worker`, or to a new one; whether there was one to give."""
        chunk = None if self._over() else next(self._chunks, None)
        if chunk is None:
            return False
        if worker is None:
            worker = self._start_worker()
        worker.chunk = chunk
        worker.connection.send(chunk)
        return True

    def _start_worker(self) -> _Worker:
        in_flight = InFlight(self._scratch / f"worker-{self._names}.json")
        self._names += 1
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._plan, in_flight, self._stop, self._deadline), daemon=True
        )
        process.start()
        theirs.close()
        worker = _Worker(in_flight, process, ours)
        self._workers.append(worker)
        return worker

    def _take_in(self, worker: _Worker, event: _Event) -> None:
        match event:
            case CaseSummary():
                self.tally.add(event, corpus=worker.chunk is not None and worker.chunk.file is not None)
            case FindingNote():
                if self.tally.add_finding(event):
                    self._progress.say(f"finding: {event.path}: {event.summary.splitlines()[0]}")
                if len(self.tally.findings) >= MOST_FINDINGS:
                    self._stop.set()
            case _Error():
                self._errors.append(event)
                self._stop.set()
                self._retire(worker)
            case _Done():
                worker.chunk = None
                if not self._hand_out(worker):
                    self._retire(worker)

    def _retire(self, worker: _Worker) -> None:
        with contextlib.suppress(BrokenPipeError):
            worker.connection.send(None)
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()

    def _bury(self, worker: _Worker) -> None:
        """A worker died: its case becomes a finding, and the campaign goes on without the rest of the chunk.

        Raises MachineError if somebody killed it: the system does where memory runs out.
        """
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()
        code = worker.process.exitcode
        case = worker.in_flight.take()
        if code in _KILLED:
            raise MachineError(
                "a worker was killed, most probably because memory ran out; --jobs lowers what a campaign needs"
                + ("" if case is None else f"\n{told(case)}")
            )
        detail = f"a worker ended with exit code {code} while it checked a case"
        if case is None:
            self.tally.lost.append(f"{detail}; which one is not known")
            return
        finding = save(_dead(case, detail), self._plan.directory)
        self.tally.add_finding(FindingNote(finding.path, finding.signature, finding.summary))

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()  # does nothing to one that has ended
            worker.process.join()
        self._workers.clear()

    def summary(self) -> Iterator[str]:
        """The summary, line by line."""
        how = "" if self.complete else "interrupted: " if self.interrupted else "ended early: "
        return self.tally.lines(self.seconds, self._plan.seed, self._plan.jobs, how)


def _dead(case: Case, detail: str) -> Report:
    return Report(
        case, parse(case.graph, "net.graph"), "unknown: the worker died", problems=(Problem("tester", detail),)
    )


@contextlib.contextmanager
def _environment_of_children(scratch: Path) -> Iterator[None]:
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


class _Progress:
    """Progress on a stream: one line that changes on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, stream: TextIO, started: float, seconds: float | None) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = started
        self._limit = "" if seconds is None else f" of {seconds:g}"
        self._period = 0.2 if self._terminal else 10.0
        self._next = started

    def show(self, tally: Tally) -> None:
        """Show the state of things, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._period
        line = f"{now - self._started:.0f}{self._limit} s: {tally.progress()}"
        self._write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")

    def clear(self) -> None:
        """Remove the changing line."""
        if self._terminal:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            self._stream.write(text)
            self._stream.flush()
