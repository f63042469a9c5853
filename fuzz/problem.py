"""What can be wrong with a case, whoever found it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from fuzz.case import DataSeed

FAILED = "failed"
"""The kind of problem of a system that took a graph and then said that it cannot, by which words it is known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong. `kind` is "emit", "build", "values" or a word of the sandbox; `data` is where it showed first.

    `pattern` says without numbers which elements are wrong, `again` how often the same was seen besides. `threads` is
    the number with which it showed first, where it is known.
    """

    kind: str
    detail: str
    data: DataSeed | None = None
    pattern: str = ""
    again: str = ""
    threads: int = 0

    def __str__(self) -> str:
        where = "" if self.data is None else f" on {self.data}"
        return f"{self.kind}{where}: {self.detail}" + (f"; {self.again}" if self.again else "")


def failure_text(error: Exception) -> str:
    """An unexpected exception as a few lines: what, and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    head = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {error}"
    return "\n".join([head, *traceback.format_exception(error, limit=-3)]).strip()
