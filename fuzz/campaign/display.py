"""Rows about what is under way, for people who wait: on a terminal they change in place, elsewhere they are lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

_BETWEEN_LINES = 10.0
"""Seconds from one plain line about a row to the next."""

_BETWEEN_PICTURES = 0.2
"""Seconds for which a terminal shows the same."""

_BAR = 16


class Display(Protocol):
    """Where rows are shown, each by a name of its own."""

    def show(self, row: str, text: str, share: float | None = None) -> None:
        """What a row says now, and which share of its work is done, from 0 to 1, where that is known."""

    def remove(self, row: str) -> None:
        """The work of a row is done."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def clear(self) -> None:
        """Leave nothing but lines that stay: somebody else is going to write. Rows are shown again when they change."""


def display_on(stream: TextIO, *, patience: float = 0.0, clock: Callable[[], float] = time.monotonic) -> Display:
    """What suits a stream; the first plain line about a row comes after `patience` seconds."""
    return _Terminal(stream, clock) if stream.isatty() else _Lines(stream, patience, clock)


class _Lines:
    """A plain line about a row now and then."""

    def __init__(self, stream: TextIO, patience: float, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._patience = patience
        self._clock = clock
        self._next: dict[str, float] = {}

    def show(self, row: str, text: str, share: float | None = None) -> None:  # noqa: ARG002 - as Display
        now = self._clock()
        if now < self._next.setdefault(row, now + self._patience):
            return
        self._next[row] = now + _BETWEEN_LINES
        self.say(f"{row}: {text}" if row else text)

    def remove(self, row: str) -> None:
        self._next.pop(row, None)

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def clear(self) -> None:
        pass


class _Terminal:
    """Rows with bars below everything else, drawn by rich: it knows how wide the terminal is, and what it can do."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._console = Console(file=stream, highlight=False, markup=False)
        self._clock = clock
        self._next = clock()
        self._progress: Progress | None = None
        self._rows: dict[str, TaskID] = {}

    def show(self, row: str, text: str, share: float | None = None) -> None:
        with contextlib.suppress(OSError):
            progress = self._drawn()
            if row not in self._rows:
                self._rows[row] = progress.add_task("", total=None if share is None else 1.0)
            text = f"{row}: {text}" if row else text
            progress.update(self._rows[row], description=text, completed=share or 0.0)
            if (now := self._clock()) >= self._next:
                self._next = now + _BETWEEN_PICTURES
                progress.refresh()

    def _drawn(self) -> Progress:
        if self._progress is None:
            words = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
            self._progress = Progress(
                BarColumn(_BAR),
                words,
                console=self._console,
                transient=True,
                expand=True,
                auto_refresh=False,  # a thread that draws would draw into what others write
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
        return self._progress

    def remove(self, row: str) -> None:
        if self._progress is not None and row in self._rows:
            self._progress.remove_task(self._rows.pop(row))

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(text, soft_wrap=True)

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            if self._progress is not None:
                self._progress.stop()
        self._progress = None
        self._rows.clear()
