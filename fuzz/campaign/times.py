"""How long a campaign took for what. It is never the same twice, and so apart from what is counted."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fuzz.campaign.tally import CaseSummary

_INTERVALS = 120
"""Intervals of time that are kept apart at most; beyond that they are twice as long."""

_SLOWEST = 10


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """A build of the C of a case: seconds, the name of the case, and what was built."""

    seconds: float
    case: str
    what: str


@dataclass(slots=True)
class Times:
    """Cases by the number of the interval in which they were done, of `width` seconds each; and the slowest builds."""

    width: int = 1
    cases: Counter[int] = field(default_factory=Counter)
    builds: list[Build] = field(default_factory=list)

    def add(self, case: CaseSummary, at: float) -> None:
        """Count a case that was done after so many seconds."""
        self.cases[int(at) // self.width] += 1
        while max(self.cases) >= _INTERVALS:
            self._widen()
        if case.build_seconds > 0:
            self._keep([Build(round(case.build_seconds, 3), case.name, case.built)])

    def merge(self, other: Times) -> None:
        """Add those of another campaign, as if both had begun at once."""
        added = Times(other.width, Counter(other.cases))
        while self.width < added.width:
            self._widen()
        while added.width < self.width:
            added._widen()
        self.cases.update(added.cases)
        self._keep(other.builds)

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
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Times:
        """What `to_dict` gave. Raises KeyError, TypeError or ValueError for anything else."""
        cases = Counter({int(number): int(count) for number, count in data["cases"].items()})
        return cls(int(data["width"]), cases, [Build(**build) for build in data["builds"]])
