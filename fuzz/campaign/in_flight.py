"""The case that a process is working on, kept on disk meanwhile."""

from __future__ import annotations

from pathlib import Path

from fuzz.case import Case
from nn512.errors import UsageError


class InFlight:
    """The case a process is working on, in a file while it does: should the process die, the case is not lost."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, case: Case) -> None:
        """Remember `case`."""
        self._path.write_text(case.dump(), encoding="utf-8")

    def take(self) -> Case | None:
        """The case that was under way, if any."""
        try:
            return Case.load(self._path)
        except UsageError:
            return None

    def clear(self) -> None:
        """Nothing is under way."""
        self._path.unlink(missing_ok=True)
