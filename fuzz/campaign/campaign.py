"""A campaign: worker processes check the corpus and then chunk after chunk of random cases, until told to stop.

The parent hands out chunks (number i has the seed of the campaign and i), counts what comes back, shows progress and
tells the summary. With a number of examples the cases are the same for any number of jobs; with a time limit only how
many chunks there are depends on the machine. How far it got is kept in a file, so that it can be gone on with however
it ended: after Ctrl-C, which lets every worker finish its case, after a signal, after a reboot.

A worker that dies does not end the campaign. Another one goes on where it was, and tries its case once more; if that
worker dies as well, the case is left out. What killed itself is a finding; what somebody else killed was not judged.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from fuzz.campaign.account import Account, command_of
from fuzz.campaign.corpus import told
from fuzz.campaign.crew import Crew, Death, Done, Processes, environment_of_children
from fuzz.campaign.edges import EDGE_REGIMES
from fuzz.campaign.findings import save
from fuzz.campaign.in_flight import InFlight
from fuzz.campaign.ledger import Piece
from fuzz.campaign.progress import Progress
from fuzz.campaign.scratch import owned, scratch_folder
from fuzz.campaign.state import State
from fuzz.campaign.tally import CaseSummary, FindingNote, Tally
from fuzz.campaign.worker import (
    MOST_FINDINGS,
    Began,
    Chunk,
    Common,
    Failure,
    Settings,
    Shrinking,
    cases_of,
    chunk_at,
    work,
)
from fuzz.case import Case
from fuzz.draw.regimes import REGIMES
from fuzz.judge.report import Report
from fuzz.problem import Problem
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.graph import parse
from nn512.toolchain import machine_faults

_SAVING = 1.0
"""Seconds between two times that the state is kept."""


@dataclass(slots=True)
class Job:
    """What a worker is at: a chunk, and a failure that it makes small at the moment.

    `piece` is None where it shrinks a failure of earlier.
    """

    piece: Piece | None = None
    chunk: Chunk = field(default_factory=Chunk)
    unfinished: Path | None = None
    shrinking: Shrinking | None = None


def processes(common: Common, scratch: Path) -> Crew[Job]:
    """Workers of this machine."""
    return Processes[Job](work, common, common.settings.jobs, scratch)


class Campaign:
    """A campaign under way: a new one, or one that is gone on with from its `state`; `recruit` gives who does it."""

    def __init__(
        self,
        settings: Settings,
        stream: TextIO | None = None,
        state: State | None = None,
        recruit: Callable[[Common, Path], Crew[Job]] = processes,
    ) -> None:
        self._settings = settings
        self._recruit = recruit
        self._started = time.monotonic()
        self.state = State.begin(settings) if state is None else state
        self.tally: Tally = self.state.tally
        self._before = self.state.seconds
        left = None if settings.seconds is None else settings.seconds - self._before
        self._deadline = None if left is None else self._started + left
        self._progress = Progress(
            stream or sys.stderr, self._started - self._before, settings.seconds, cases_of(settings)
        )
        self._jobs: list[Job] = []
        self._stopping = False
        self._errors: list[Failure] = []
        self._unfinished = sorted(self.tally.unfinished)
        self._deaths = 0
        self._saved = self._started
        self._unsaved = ""
        if skipped := sorted(set(EDGE_REGIMES if settings.edges else REGIMES) - set(settings.regimes)):
            text = f"data regimes {', '.join(skipped)}: not drawn"
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
            with scratch_folder("nn512-fuzz-") as scratch, environment_of_children(scratch):
                self._keep()
                self._run_crew(self._recruit(Common(self._settings, self._deadline), scratch))
            timed_out = self._deadline is not None and time.monotonic() > self._deadline
            self.state.complete = not (self.interrupted or self._errors) and (timed_out or self.state.ledger.all_done)
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

    def _run_crew(self, crew: Crew[Job]) -> None:
        try:
            while True:
                try:
                    self._loop(crew)
                    break
                except KeyboardInterrupt:
                    if self.interrupted:  # the second time: now
                        break
                    self.interrupted = True
                    self._stop(crew)
                    self._progress.say("stopping: every job finishes its case (Ctrl-C again to stop at once)")
        finally:
            # What they have said by then counts, most of all what they have found.
            for job, event in crew.close():
                self._take_in(job, event)
            self._progress.clear()

    def _loop(self, crew: Crew[Job]) -> None:
        """Hand out chunks and take in events until there is nothing left to do."""
        while True:
            while crew.has_room() and (job := self._next_job()) is not None:
                self._jobs.append(job)
                crew.begin(job, job.chunk)
            if not crew.busy:
                return
            under_way = [job.shrinking for job in self._jobs if job.shrinking is not None]
            self._progress.show(self.tally, [(one.done, one.of) for one in under_way])
            for job, event in crew.events(1.0):
                self._take_in(job, event)
            if self._stopping:
                crew.stop()
            if time.monotonic() >= self._saved + _SAVING:
                self._keep()

    def _stop(self, crew: Crew[Job]) -> None:
        self._stopping = True
        crew.stop()

    def _over(self) -> bool:
        timed_out = self._deadline is not None and time.monotonic() > self._deadline
        return self._stopping or timed_out or self._enough or bool(self._errors)

    @property
    def _enough(self) -> bool:
        return len(self.tally.new) >= self._settings.max_findings

    def _next_job(self) -> Job | None:
        """What is to be done next, if there is anything."""
        if self._over():
            return None
        if self._unfinished:
            return Job(None, Chunk(file=self._unfinished.pop(0), again=True))
        piece = self.state.ledger.take()
        return None if piece is None else Job(piece, chunk_at(self._settings, piece.number, piece.position))

    def _take_in(self, job: Job, event: Any) -> None:  # noqa: ANN401 - a `Message`, or how a job ended
        match event:
            case CaseSummary():
                self._deaths = 0
                self.tally.add(event, corpus=job.chunk.file is not None)
                self.state.times.add(event, self.seconds)
                if job.piece is not None:
                    job.piece.position += 1
                    job.piece.deaths = 0
            case Began():
                job.unfinished = event.folder
                self.tally.unfinished.add(event.folder)
            case Shrinking():
                if job.shrinking is None:
                    limit = f"{self._settings.shrink_seconds:g} s"
                    self._progress.say(f"a case failed: it is made small now, for {limit} at most (--shrink-time)")
                job.shrinking = event
            case FindingNote():
                self._end_shrinking(job)
                self._add_finding(event)
            case Failure():
                self._errors.append(event)
                self._stopping = True
            case Done():
                if event.complete:
                    self._finish(job)
                else:
                    self._give_back(job)
                self._jobs.remove(job)
            case Death():
                self._bury(job, event)
                self._jobs.remove(job)

    def _end_shrinking(self, job: Job) -> None:
        if job.unfinished is not None:
            self.tally.unfinished.discard(job.unfinished)
        job.unfinished = job.shrinking = None

    def _add_finding(self, note: FindingNote) -> None:
        if self.tally.add_finding(note):
            known = "known " if note.fault in self._settings.baseline else ""
            self._progress.say(f"{known}finding: {note.path}: {note.summary.splitlines()[0]}")
            if note.how:
                self._progress.say(f"  {note.how}")
        self._stopping |= self._enough

    def _finish(self, job: Job) -> None:
        if job.piece is not None:
            self.state.ledger.done(job.piece)

    def _give_back(self, job: Job) -> None:
        """What was not done is left to others: the rest of a chunk, and a failure that was being shrunk."""
        if job.unfinished is not None and not job.chunk.again:
            self._unfinished.append(job.unfinished)
        if job.piece is None:
            return
        if job.chunk.file is not None and job.piece.position:
            self._finish(job)
        else:
            self.state.ledger.give_back(job.piece)

    def _bury(self, job: Job, death: Death) -> None:
        """A worker died: another one goes on from the case that it was at, unless they all die without judging any."""
        case = InFlight(death.note).take()
        if death.killed:
            detail = "a worker was killed, most probably because memory ran out; --jobs lowers what a campaign needs"
        else:
            detail = f"a worker ended with exit code {death.code} while it checked a case"
            if case is not None:
                self._add_finding(FindingNote.of(save(_dead(case, detail), self._settings.directory)))
        text = detail if case is None else f"{detail}\n{told(case)}"
        self._deaths += 1
        if self._deaths > 2 + self._settings.jobs:
            self._errors.append(Failure(f"workers die one after the other: {text}", MachineError.exit_code))
        piece = job.piece
        again = "its case is tried once more"
        if piece is not None and job.unfinished is None:
            piece.deaths += 1
            if piece.deaths == 2:
                piece.position, piece.deaths = piece.position + 1, 0
                again = "again, and its case is left out"
                if death.killed or case is None:
                    self.tally.lost.append(text)
        elif job.chunk.again:
            again = "what it made small stays as it is"
        self._progress.say(f"{detail.partition(';')[0]}: {again}")
        self._give_back(job)

    @property
    def _made(self) -> str:
        jobs = self._settings.jobs
        return f"{self._settings.name}, {jobs} job{'' if jobs == 1 else 's'}"

    def account(self, code: int) -> Account:
        """What reports tell; `code` is what the program ends with."""
        how = "" if self.state.complete else "interrupted" if self.interrupted else "ended early"
        more = ""
        if how == "ended early" and self._enough and not self._errors:
            how += f" by --max-findings {self._settings.max_findings}"
            more = f" --max-findings {len(self.tally.new) + MOST_FINDINGS}"
        notes = ""
        if self._unsaved:
            notes = f"{self.state.file} is not up to date: {self._unsaved}"
        elif how and self.state.file.exists():
            notes = f"nn512 fuzz --resume {shlex.quote(str(self.state.file))}{more} goes on with it"
        command = command_of(self._settings)
        told = (notes,) if notes else ()
        return Account(self.tally, self._made, self.seconds, code, how, command, told, self.state.times)

    def summary(self) -> Iterator[str]:
        """The summary, line by line."""
        return self.account(self.tally.code).lines()


def _dead(case: Case, detail: str) -> Report:
    return Report(
        case, parse(case.graph, "net.graph"), "unknown: the worker died", problems=(Problem("tester", detail),)
    )
