"""Telling people who wait for one verdict: a row on standard error that changes, and lines on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fuzz.campaign.display import display_on

PATIENCE = 10.0
"""Seconds before a plain line says how far a check is; on a terminal it is shown at once."""


class Waiting:
    """A `fuzz.campaign.verifying.Listener`; call `clear` before anybody else writes, and at the end."""

    def __init__(self) -> None:
        self._display = display_on(sys.stderr, patience=PATIENCE)

    def step(self, says: str, share: float) -> None:
        """Show what is done now."""
        self._display.show("", says, share)

    def say(self, lines: Sequence[str]) -> None:
        """Print lines."""
        self.clear()
        print(*lines, sep="\n", flush=True)

    def clear(self) -> None:
        """Remove what changes."""
        self._display.clear()
