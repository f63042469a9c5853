"""Progress of a campaign, for people."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TextIO

from fuzz.campaign.tally import Tally


class Progress:
    """Progress on a stream: one line that changes on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, stream: TextIO, started: float, seconds: float | None) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = started
        self._limit = "" if seconds is None else f" of {seconds:g}"
        self._period = 0.2 if self._terminal else 10.0
        self._next = started

    def show(self, tally: Tally, shrinking: Sequence[tuple[int, int]] = ()) -> None:
        """Show the state of things, if it is time to; `shrinking` as for `Tally.progress`."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._period
        line = f"{now - self._started:.0f}{self._limit} s: {tally.progress(shrinking)}"
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
