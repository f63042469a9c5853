"""What a check is at, for people who wait for that of a large net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fuzz.judge.clock import Clock

Tell = Callable[[str, float], None]
"""Hears what is done now, and which share of the whole was done before, from 0 to 1."""

_REFERENCE = 3
"""What the reference takes, as a multiple of a build or a run, which take about the same."""


def nobody(_says: str, _share: float) -> None:
    """Hears nothing."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a check on so many data sets, of a graph of so many layers. `clock` adds up what they take."""

    tell: Tell
    data_sets: int
    layers: int
    clock: Clock

    def emitting(self) -> None:
        """The target makes C of the graph."""
        self.clock.turn_to("emit")
        self._at("emitting C", 0.0)

    def building(self, optimisation: str) -> None:
        """The C is compiled."""
        self.clock.turn_to("compile")
        self._at(f"building C, {optimisation}", 1.0)

    def running(self, number: int, data: object) -> None:
        """Data set `number` is run."""
        self.clock.turn_to("run")
        self._at(f"running on {data}", self._before(number))

    def evaluating(self, number: int, data: object) -> Callable[[int], None]:
        """The reference is evaluated on data set `number`: what is called with the number of every layer."""
        self.clock.turn_to("reference")

        def layer(done: int) -> None:
            share = done / max(1, self.layers)
            text = f"reference on {data}, layer {done + 1} of {self.layers}"
            self._at(text, self._before(number) + 1 + _REFERENCE * share)

        return layer

    def comparing(self) -> None:
        """What was computed is compared."""
        self.clock.turn_to("compare")

    def _before(self, number: int) -> float:
        return 2.0 + number * (1 + _REFERENCE)

    def _at(self, says: str, done: float) -> None:
        self.tell(says, done / self._before(self.data_sets))
