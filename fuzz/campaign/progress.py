"""Progress of a campaign, for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from fuzz.campaign.display import display_on
from fuzz.campaign.tally import Tally


class Progress:
    """How far a campaign is that began at `started`, and is over after `seconds` or so many `cases`."""

    def __init__(self, stream: TextIO, started: float, seconds: float | None, cases: int | None = None) -> None:
        self._display = display_on(stream)
        self._started = started
        self._seconds = seconds
        self._cases = cases

    def show(self, tally: Tally, shrinking: Sequence[tuple[int, int]] = ()) -> None:
        """Show the state of things, if it is time to; `shrinking` as for `Tally.progress`."""
        passed = time.monotonic() - self._started
        limit = "" if self._seconds is None else f" of {self._seconds:g}"
        shares = [passed / self._seconds] if self._seconds else []
        shares += [tally.cases / self._cases] if self._cases else []
        share = min(1.0, max(shares)) if shares else None
        self._display.show("", f"{passed:.0f}{limit} s: {tally.progress(shrinking)}", share)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._display.say(text)

    def clear(self) -> None:
        """Remove what changes."""
        self._display.clear()
