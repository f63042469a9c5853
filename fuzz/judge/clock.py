"""What the stages of a check take, in seconds of the processor: of this process and of the children that it waited for.

Not in seconds of a clock on the wall, which would measure what else the machine has to do.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping

STAGES = ("draw", "emit", "compile", "run", "reference", "compare")
"""What a campaign's time is divided into: graphs and data are drawn, C is emitted, compiled and run, and what it
computed is compared with what the reference expects."""


class Clock:
    """Stages follow each other, and may come again: to turn to one ends the one before."""

    def __init__(self, stage: str) -> None:
        self._seconds: dict[str, float] = {}
        self._stage = stage
        self._since = processor_seconds()

    def turn_to(self, stage: str) -> None:
        """Another stage begins."""
        now = processor_seconds()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage until now."""
        self.turn_to(self._stage)
        return dict(self._seconds)


def processor_seconds() -> float:
    """What this process and its children have taken of the processor."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
