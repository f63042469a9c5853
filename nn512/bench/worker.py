"""A measured program: started, asked line by line, frozen while others run, ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Self

from nn512.errors import CannotRunError
from nn512.signals import signal_name
from nn512.toolchain import end_group, ended

ANSWER_TIMEOUT = 600.0
"""Seconds that any one answer may take; loading a model and a burst of a slow net stay far below."""

_LOG_LIMIT = 4096
_ANSWER_LIMIT = 64 << 20


class WorkerError(CannotRunError):
    """A measured program ended early, did not answer, or said what it cannot do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program wrote upon a line: lines of text, if any, and then a line of data."""

    lines: tuple[str, ...]
    data: dict[str, Any]


class Worker:
    """A program that answers lines. It runs in a process group of its own, so Ctrl-C is for us to handle.

    Outside of `ask` it is stopped (SIGSTOP): threads that spin in wait for work disturb nobody else's measurement.
    """

    def __init__(self, name: str, command: Sequence[str], *, timeout: float = ANSWER_TIMEOUT) -> None:
        self.name, self._timeout = name, timeout
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._unread = b""
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,
                process_group=0,
            )
        except OSError as error:
            self._log.close()
            raise WorkerError(f"cannot start {name}: {error.strerror}") from error
        try:
            self.ready = self._answer().data
            self._signal(signal.SIGSTOP)
        except BaseException:
            self.close(gently=False)
            raise

    def ask(self, line: str, timeout: float | None = None) -> Answer:
        """Let the program run until it has answered `line`, for `timeout` seconds if not for as many as any answer.

        Raises WorkerError where it does not answer.
        """
        self._signal(signal.SIGCONT)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise self._failure("ended") from None
        answer = self._answer(timeout)
        self._signal(signal.SIGSTOP)
        return answer

    def burst(self, untimed: int, timed: int) -> list[int]:
        """Nanoseconds of `timed` inferences, one after another, after `untimed` ones."""
        times = self.ask(f"run {untimed} {timed}").data.get("nanoseconds")
        if not isinstance(times, list) or len(times) != timed:
            raise self._failure("gave a wrong answer")
        return [max(int(time), 1) for time in times]

    def close(self, *, gently: bool = True) -> None:
        """End the program; `gently` gives it a moment to end by itself."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._process.returncode is None:
            if gently:
                self._signal(signal.SIGCONT)
                ended(self._process, 2.0)
            end_group(self._process)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(gently=kind is None)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:  # not collected, so the id is still its
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _answer(self, timeout: float | None = None) -> Answer:
        """Lines up to and with the next that begins with a brace."""
        lines: list[str] = []
        timeout = self._timeout if timeout is None else timeout
        deadline = monotonic() + timeout
        while True:
            line = self._read_line(deadline, timeout)
            if not line.startswith("{"):
                lines.append(line)
                continue
            try:
                data = json.loads(line)
            except ValueError:
                raise self._failure(f"gave a wrong answer, {line!r}") from None
            if "error" in data:
                raise WorkerError(f"{self.name}: {data['error']}")
            return Answer(tuple(lines), data)

    def _read_line(self, deadline: float, timeout: float) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while b"\n" not in self._unread:
            if not poller.poll(max(deadline - monotonic(), 0.0) * 1000):
                raise self._failure(f"did not answer within {timeout:g} s")
            piece = os.read(descriptor, 1 << 16)
            self._unread += piece
            if not piece or len(self._unread) > _ANSWER_LIMIT:
                raise self._failure("ended" if not piece else "answered without end")
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def _failure(self, what: str) -> WorkerError:
        """The error that says `what` the program did, how it ended if it did, and its last words."""
        if what == "ended":
            ended(self._process, 2.0)
            end_group(self._process)
            if self._process.returncode < 0:
                what = f"was ended by {signal_name(-self._process.returncode)}"
            elif self._process.returncode > 0:
                what = f"ended with exit code {self._process.returncode}"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(size - _LOG_LIMIT, 0))
        words = self._log.read().decode("utf-8", "replace").strip()
        return WorkerError(f"{self.name} {what}" + (f"\n{words}" if words else ""))
