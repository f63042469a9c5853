"""A campaign: worker processes check the corpus and then chunk after chunk of random cases, until told to stop.

The parent hands out chunks (number i has the seed of the campaign and i), counts what comes back, shows progress and
tells the summary. With a number of examples the cases are the same for any number of jobs; with a time limit only how
many chunks there are depends on the machine. How far it got is kept in a file, so that it can be gone on with however
it ended: after Ctrl-C, which lets every worker finish its case, after a signal, after a reboot.

A worker that dies does not end the campaign. Another one goes on where it was, and tries its case once more; if that
worker dies as well, the case is left out. What killed itself is a finding; what somebody else killed was not judged.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import TextIO

from fuzz.campaign.account import Account, command_of
from fuzz.campaign.corpus import told
from fuzz.campaign.edges import EDGE_REGIMES
from fuzz.campaign.findings import save
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.ledger import Piece
from fuzz.campaign.progress import Progress
from fuzz.campaign.scratch import owned, scratch_folder
from fuzz.campaign.state import State
from fuzz.campaign.tally import CaseSummary, FindingNote, Tally
from fuzz.campaign.worker import Began, Chunk, Done, Failure, Message, Settings, Shrinking, chunk_at, work
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

_SAVING = 1.0
"""Seconds between two times that the state is kept."""

MOST_FINDINGS = 10
"""A campaign ends after that many different findings: there is enough to do."""


@dataclass(slots=True)
class _Worker:
    """The parent's end of a worker process: what it works on, and what it makes small at the moment.

    `piece` is None where it shrinks a failure of earlier.
    """

    in_flight: InFlight
    process: SpawnProcess
    connection: Connection
    piece: Piece | None = None
    chunk: Chunk = field(default_factory=Chunk)
    unfinished: Path | None = None
    shrinking: Shrinking | None = None


class Campaign:
    """A campaign under way: a new one, or one that is gone on with from its `state`."""

    def __init__(self, settings: Settings, stream: TextIO | None = None, state: State | None = None) -> None:
        self._settings = settings
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._started = time.monotonic()
        self.state = State.begin(settings) if state is None else state
        self.tally: Tally = self.state.tally
        self._before = self.state.seconds
        left = None if settings.seconds is None else settings.seconds - self._before
        self._deadline = None if left is None else self._started + left
        self._progress = Progress(stream or sys.stderr, self._started - self._before, settings.seconds)
        self._workers: list[_Worker] = []
        self._names = 0
        self._scratch = Path()
        self._errors: list[Failure] = []
        self._unfinished = sorted(self.tally.unfinished)
        self._deaths = 0
        self._saved = self._started
        self._unsaved = ""
        if skipped := sorted(set(EDGE_REGIMES if settings.edges else REGIMES) - set(settings.regimes)):
            text = f"data regimes {', '.join(skipped)}: not drawn with this runner"
            self.tally.skips[:] = [*(skip for skip in self.tally.skips if skip != text), text]
        self.interrupted = False
        self.begun = False

    @property
    def seconds(self) -> float:
        """Seconds that the campaign has run, before it was resumed, too."""
        return self._before + time.monotonic() - self._started

    def run(self) -> int:
        """Run to the end; returns the exit code, `Tally.code` or 130 where it was interrupted.

        Raises CannotRunError where this machine cannot go on, and UsageError if another process has the folder; the
        summary so far is there nevertheless.
        """
        try:
            with machine_faults("cannot run a campaign"):
                self._settings.directory.mkdir(parents=True, exist_ok=True)
                with owned(self.state.file.with_name(f".{self.state.file.name}.lock")) as mine:
                    if not mine:
                        raise UsageError(
                            f"another campaign is under way in {str(self._settings.directory)!r}: --out names another"
                        )
                    self._run_owned()
            if self._errors:
                # Several workers may have had the same reason, each with a case of its own.
                heads = dict.fromkeys(error.text.partition("\n")[0] for error in self._errors)
                unable = any(error.exit_code == CannotRunError.exit_code for error in self._errors)
                raise CannotRunError("\n".join(heads)) if unable else UsageError("\n".join(heads))
        except CannotRunError as error:
            self.tally.lost.extend(dict.fromkeys([known.text for known in self._errors] or [str(error)]))
            raise
        return 130 if self.interrupted else self.tally.code

    def _run_owned(self) -> None:
        self.begun = True
        self._progress.say(f"{self._made}: {self.state.file}")
        try:
            with scratch_folder("nn512-fuzz-") as scratch, _environment_of_children(scratch):
                self._scratch = scratch
                self._keep()
                self._run_workers()
            timed_out = self._deadline is not None and time.monotonic() > self._deadline
            enough = len(self.tally.new) >= MOST_FINDINGS
            self.state.complete = not (self.interrupted or self._errors) and (
                timed_out or enough or self.state.ledger.all_done
            )
        finally:
            self._keep()

    def _keep(self) -> None:
        """Keep the state. Where that cannot be, the campaign goes on, and says so once."""
        self._saved = time.monotonic()
        self.state.seconds = self.seconds
        try:
            self.state.save()
        except OSError as error:
            reason = error.strerror or str(error)
            if not self._unsaved:
                self._progress.say(f"cannot keep {self.state.file}: {reason}; --resume will know nothing newer")
            self._unsaved = reason
        else:
            self._unsaved = ""

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
                except (EOFError, OSError):  # it may have died in the middle of a message
                    self._bury(worker)
            if time.monotonic() >= self._saved + _SAVING:
                self._keep()

    def _over(self) -> bool:
        timed_out = self._deadline is not None and time.monotonic() > self._deadline
        return self._stop.is_set() or timed_out or bool(self._errors)

    def _hand_out(self, worker: _Worker | None) -> bool:
        """Give the next chunk to `worker`, or to a new one; whether there was one to give."""
        if self._over():
            return False
        piece = None
        if self._unfinished:
            chunk = Chunk(file=self._unfinished.pop(0), again=True)
        else:
            piece = self.state.ledger.take()
            if piece is None:
                return False
            chunk = chunk_at(self._settings, piece.number, piece.position)
        if worker is None:
            worker = self._start_worker()
        worker.piece, worker.chunk = piece, chunk
        with contextlib.suppress(BrokenPipeError):  # it died: the loop will see to that
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
                self._deaths = 0
                self.tally.add(event, corpus=worker.chunk.file is not None)
                if worker.piece is not None:
                    worker.piece.position += 1
                    worker.piece.deaths = 0
            case Began():
                worker.unfinished = event.folder
                self.tally.unfinished.add(event.folder)
            case Shrinking():
                if worker.shrinking is None:
                    limit = f"{self._settings.shrink_seconds:g} s"
                    self._progress.say(f"a case failed: it is made small now, for {limit} at most (--shrink-time)")
                worker.shrinking = event
            case FindingNote():
                self._end_shrinking(worker)
                self._add_finding(event)
            case Failure():
                self._errors.append(event)
                self._stop.set()
                self._give_back(worker)
                self._retire(worker)
            case Done():
                if event.complete:
                    self._finish(worker)
                else:
                    self._give_back(worker)
                if not self._hand_out(worker):
                    self._retire(worker)

    def _end_shrinking(self, worker: _Worker) -> None:
        if worker.unfinished is not None:
            self.tally.unfinished.discard(worker.unfinished)
        worker.unfinished = worker.shrinking = None

    def _add_finding(self, note: FindingNote) -> None:
        if self.tally.add_finding(note):
            known = "known " if note.fault in self._settings.baseline else ""
            self._progress.say(f"{known}finding: {note.path}: {note.summary.splitlines()[0]}")
            if note.how:
                self._progress.say(f"  {note.how}")
        if len(self.tally.new) >= MOST_FINDINGS:
            self._stop.set()

    def _finish(self, worker: _Worker) -> None:
        if worker.piece is not None:
            self.state.ledger.done(worker.piece)
        worker.piece = None

    def _give_back(self, worker: _Worker) -> None:
        """What `worker` has not done is left to others: the rest of its chunk, and a failure that it was shrinking."""
        if worker.unfinished is not None and not worker.chunk.again:
            self._unfinished.append(worker.unfinished)
        worker.unfinished = worker.shrinking = None
        if worker.piece is None:
            return
        if worker.chunk.file is not None and worker.piece.position:
            self._finish(worker)
        else:
            self.state.ledger.give_back(worker.piece)
        worker.piece = None

    def _retire(self, worker: _Worker) -> None:
        with contextlib.suppress(BrokenPipeError):
            worker.connection.send(None)
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()

    def _bury(self, worker: _Worker) -> None:
        """A worker died: another one goes on from the case that it was at, unless they all die without judging any."""
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()
        code, case = worker.process.exitcode, worker.in_flight.take()
        killed = code in _KILLED
        if killed:
            detail = "a worker was killed, most probably because memory ran out; --jobs lowers what a campaign needs"
        else:
            detail = f"a worker ended with exit code {code} while it checked a case"
            if case is not None:
                self._add_finding(FindingNote.of(save(_dead(case, detail), self._settings.directory)))
        text = detail if case is None else f"{detail}\n{told(case)}"
        self._deaths += 1
        if self._deaths > 2 + self._settings.jobs:
            self._errors.append(Failure(f"workers die one after the other: {text}", MachineError.exit_code))
        piece = worker.piece
        again = "its case is tried once more"
        if piece is not None and worker.unfinished is None:
            piece.deaths += 1
            if piece.deaths == 2:
                piece.position, piece.deaths = piece.position + 1, 0
                again = "again, and its case is left out"
                if killed or case is None:
                    self.tally.lost.append(text)
        elif worker.chunk.again:
            again = "what it made small stays as it is"
        self._progress.say(f"{detail.partition(';')[0]}: {again}")
        self._give_back(worker)

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()  # does nothing to one that has ended
            worker.process.join()
        # What they have said by then counts, most of all what they have found.
        for worker in list(self._workers):
            with contextlib.suppress(EOFError, OSError):
                while worker.connection.poll():
                    self._take_in(worker, worker.connection.recv())
        self._workers.clear()

    @property
    def _made(self) -> str:
        jobs = self._settings.jobs
        return f"{self._settings.name}, {jobs} job{'' if jobs == 1 else 's'}"

    def account(self, code: int) -> Account:
        """What reports tell; `code` is what the program ends with."""
        how = "" if self.state.complete else "interrupted" if self.interrupted else "ended early"
        notes = ""
        if self._unsaved:
            notes = f"{self.state.file} is not up to date: {self._unsaved}"
        elif how and self.state.file.exists():
            notes = f"nn512 fuzz --resume {shlex.quote(str(self.state.file))} goes on with it"
        command = command_of(self._settings)
        return Account(self.tally, self._made, self.seconds, code, how, command, (notes,) if notes else ())

    def summary(self) -> Iterator[str]:
        """The summary, line by line."""
        return self.account(self.tally.code).lines()


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
