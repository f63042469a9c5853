"""A campaign: worker processes check the corpus and then chunk after chunk of random cases, until told to stop.

The parent hands out chunks (number i has the seed of the campaign and i), counts what comes back, shows progress and
tells the summary. With a number of examples the cases are the same for any number of jobs; with a time limit only how
many chunks there are depends on the machine. Ctrl-C lets every worker finish its case, then the summary so far is told;
what was found is on disk by then. A worker that dies does not end the campaign, its case becomes a finding; one that
somebody killed does, as does a full disk: what this machine cannot judge is neither right nor wrong.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import TextIO

from fuzz.campaign.corpus import told
from fuzz.campaign.findings import save
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.progress import Progress
from fuzz.campaign.tally import CaseSummary, FindingNote, Tally
from fuzz.campaign.worker import Chunk, Done, Failure, Message, Settings, Shrinking, work
from fuzz.case import Case
from fuzz.draw.regimes import REGIMES
from fuzz.judge.report import Report
from fuzz.problem import Problem
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.graph import parse
from nn512.toolchain import machine_faults

_KILLED = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}
"""Exit codes of workers that somebody else has ended."""

_PATIENCE = 10.0
"""Seconds that a worker has to clean up when it is told to end at once."""

MOST_FINDINGS = 10
"""A campaign ends after that many different findings: there is enough to do."""


@dataclass(slots=True)
class _Worker:
    """The parent's end of a worker process."""

    in_flight: InFlight
    process: SpawnProcess
    connection: Connection
    chunk: Chunk | None = None
    shrinking: Shrinking | None = None


class Campaign:
    """A campaign under way."""

    def __init__(self, settings: Settings, stream: TextIO | None = None) -> None:
        self._settings = settings
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._started = time.monotonic()
        self._deadline = None if settings.seconds is None else self._started + settings.seconds
        self._progress = Progress(stream or sys.stderr, self._started, settings.seconds)
        self._chunks = self._make_chunks()
        self._workers: list[_Worker] = []
        self._names = 0
        self._scratch = Path()
        self._errors: list[Failure] = []
        self.tally = Tally(baseline=settings.baseline)
        if skipped := sorted(set(REGIMES) - set(settings.regimes)):
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

    def _make_chunks(self) -> Iterator[Chunk]:
        for file in self._settings.corpus:
            yield Chunk(file=file)
        number, remaining = 0, self._settings.examples
        while remaining is None or remaining > 0:
            size = self._settings.chunk if remaining is None else min(self._settings.chunk, remaining)
            # Chunk seeds of different campaigns must differ: a large stride instead of a sum.
            turn = self._settings.kernels[number % max(1, len(self._settings.kernels)) :][:1]
            yield Chunk(self._settings.seed * 1_000_003 + number, size, kernels=turn)
            number += 1
            remaining = None if remaining is None else remaining - size

    def _loop(self) -> None:
        """Hand out chunks and take in events until there is nothing left to do."""
        while True:
            while len(self._workers) < self._settings.jobs and self._hand_out(None):
                pass
            if not self._workers:
                return
            under_way = [worker.shrinking for worker in self._workers if worker.shrinking is not None]
            self._progress.show(self.tally, [(one.done, one.of) for one in under_way])
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
            target=work, args=(theirs, self._settings, in_flight, self._stop, self._deadline), daemon=True
        )
        process.start()
        theirs.close()
        worker = _Worker(in_flight, process, ours)
        self._workers.append(worker)
        return worker

    def _take_in(self, worker: _Worker, event: Message) -> None:
        match event:
            case CaseSummary():
                self.tally.add(event, corpus=worker.chunk is not None and worker.chunk.file is not None)
            case Shrinking():
                if worker.shrinking is None:
                    limit = f"{self._settings.shrink_seconds:g} s"
                    self._progress.say(f"a case failed: it is made small now, for {limit} at most (--shrink-time)")
                worker.shrinking = event
            case FindingNote():
                worker.shrinking = None
                if self.tally.add_finding(event):
                    known = "known " if event.fault in self._settings.baseline else ""
                    self._progress.say(f"{known}finding: {event.path}: {event.summary.splitlines()[0]}")
                    if event.how:
                        self._progress.say(f"  {event.how}")
                if len(self.tally.new) >= MOST_FINDINGS:
                    self._stop.set()
            case Failure():
                self._errors.append(event)
                self._stop.set()
                self._retire(worker)
            case Done():
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
        finding = save(_dead(case, detail), self._settings.directory)
        self.tally.add_finding(FindingNote.of(finding))

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
        return self.tally.lines(self.seconds, self._settings.seed, self._settings.jobs, how)


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
