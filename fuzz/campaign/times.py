"""How long a campaign took for what. It is never the same twice, and so apart from what is counted."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fuzz.campaign.tally import CaseSummary
from fuzz.judge.clock import STAGES

_INTERVALS = 120
"""Intervals of time that are kept apart at most; beyond that they are twice as long."""

_SLOWEST = 10


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """A build of the C of a case: seconds of the processor, the name of the case, and what was built."""

    seconds: float
    case: str
    what: str


@dataclass(slots=True)
class Times:
    """Cases by the number of the interval in which they were done, of `width` seconds each; and the slowest builds.

    `spent` are seconds of the processor by stage (see `fuzz.judge.clock`).
    """

    width: int = 1
    cases: Counter[int] = field(default_factory=Counter)
    builds: list[Build] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)

    def add(self, case: CaseSummary, at: float) -> None:
        """Count a case that was done after so many seconds."""
        self.cases[int(at) // self.width] += 1
        while max(self.cases) >= _INTERVALS:
            self._widen()
        self._spend(case.seconds)
        if built := case.seconds.get("compile", 0.0):
            self._keep([Build(round(built, 3), case.name, case.built)])

    def merge(self, other: Times) -> None:
        """Add those of another campaign, as if both had begun at once."""
        added = Times(other.width, Counter(other.cases))
        while self.width < added.width:
            self._widen()
        while added.width < self.width:
            added._widen()
        self.cases.update(added.cases)
        self._keep(other.builds)
        self._spend(other.spent)

    def told(self, data_sets: int) -> str:
        """What the processor did, and how fast one core of it does that; nothing where nothing is known."""
        total = math.fsum(self.spent.values())
        if total <= 0:
            return ""
        shares = ", ".join(f"{stage} {self.spent.get(stage, 0.0) / total:.0%}" for stage in STAGES)
        rates = f"{sum(self.cases.values()) / total:.1f} graphs and {data_sets / total:.0f} data sets"
        return f"{total:.0f} s of the processor: {shares}; {rates} per second and core"

    def _spend(self, seconds: Mapping[str, float]) -> None:
        for stage, some in seconds.items():
            self.spent[stage] = self.spent.get(stage, 0.0) + some

    def _widen(self) -> None:
        cases, self.cases = self.cases, Counter()
        self.width *= 2
        for number, count in cases.items():
            self.cases[number // 2] += count

    def _keep(self, builds: list[Build]) -> None:
        self.builds = heapq.nlargest(_SLOWEST, [*self.builds, *builds])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "width": self.width,
            "cases": {str(number): count for number, count in sorted(self.cases.items())},
            "builds": [asdict(build) for build in self.builds],
            "spent": dict(self.spent),  # not rounded: what is told of them again must be the same
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Times:
        """What `to_dict` gave. Raises KeyError, TypeError or ValueError for anything else."""
        cases = Counter({int(number): int(count) for number, count in data["cases"].items()})
        spent = {str(stage): float(seconds) for stage, seconds in data.get("spent", {}).items()}  # there was none once
        return cls(int(data["width"]), cases, [Build(**build) for build in data["builds"]], spent)
