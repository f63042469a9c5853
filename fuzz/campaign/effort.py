"""How much is spent on making one failure small: cases that are checked, and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 160
"""Cases that are checked at most while nodes and sizes are reduced."""

SECONDS = 60.0
"""Time for a failure, unless somebody says otherwise. It is its own: a campaign's time may be over meanwhile."""


@dataclass(slots=True)
class Effort:
    """What may still be spent on a failure. `stopped` ends it at once, `tell` hears of every case that is checked."""

    most: int = MOST
    seconds: float = SECONDS
    stopped: Callable[[], bool] = lambda: False
    tell: Callable[[int, int], None] = lambda done, of: None  # noqa: ARG005 - names say what is told
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    cut: str = ""
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    def spend(self) -> bool:
        """Whether one more case may be checked; counts it. What refuses is remembered in `cut`."""
        if not self.cut:
            if self.stopped():
                self.cut = "it was interrupted"
            elif self.clock() >= self._end:
                self.cut = f"its {self.seconds:g} s were over (--shrink-time)"
            elif self.done >= self.most:
                self.cut = f"of {self.most} cases none is left"
        if self.cut:
            return False
        self.done += 1
        self.tell(self.done, self.most)
        return True

    @property
    def told(self) -> str:
        """How far it went, for people."""
        cases = f"{self.done} case{'' if self.done == 1 else 's'}"
        return f"shrinking was cut after {cases}: {self.cut}" if self.cut else f"shrunk with {cases}"
