"""How a driver program ended, wherever it ran."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """The result file, what the program wrote besides, and its exit status as Popen has it.

    `hung`: it was ended because it made no progress. `used` is its processor time in seconds.
    """

    result: bytes
    log: bytes
    returncode: int
    hung: bool
    used: float
