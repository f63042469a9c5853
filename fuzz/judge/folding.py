"""Problems of one kind as one: a wrong line in a kernel shows on every kind of data, with every number of threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from fuzz.case import DataSeed
from fuzz.judge.compare import Verdict
from fuzz.judge.pattern import Grid, pattern_of
from fuzz.problem import Problem
from fuzz.run.outcome import Kind, Violation

_THREADS = re.compile(r"  \[[^;]*; threads (\d+), ")

_BY_THREADS = frozenset((Kind.VARIES_WITH_THREADS,))
"""Kinds of which the shares of threads may explain which elements they are about."""

_VARIES = frozenset((Kind.VARIES, Kind.VARIES_WITH_THREADS, Kind.VARIES_WITH_SHARING, Kind.VARIES_WITH_HISTORY))

_CONSEQUENCES = {
    str(Kind.UNINITIALIZED): frozenset(map(str, (*_VARIES, Kind.NOT_REPEATABLE, Kind.API, Kind.FORK))),
    str(Kind.NOT_REPEATABLE): frozenset(map(str, (*_VARIES, Kind.API, Kind.FORK))),
}
"""What else an output is called that is wrong so: it differs wherever it is compared with itself."""


@dataclass
class Folded:
    """Problems as they come, those of one kind about one output as one. `grid_of` gives the grid of an output."""

    grid_of: Callable[[str], Grid]
    _first: dict[tuple[str, str], Problem] = field(default_factory=dict)
    _seen: dict[tuple[str, str], list[tuple[DataSeed, int]]] = field(default_factory=dict)

    def add_violations(self, violations: Sequence[Violation], data: DataSeed) -> None:
        """Something besides values was wrong on `data`."""
        for violation in violations:
            found = _THREADS.search(violation.detail)
            threads = 0 if found is None else int(found.group(1))
            key = str(violation.kind), violation.tensor
            if key not in self._first:
                self._first[key] = replace(self._of(violation, threads), data=data)
            self._seen.setdefault(key, []).append((data, threads))

    def add_verdicts(self, verdicts: Sequence[Verdict], data: DataSeed) -> None:
        """Outputs were compared on `data`."""
        for verdict in verdicts:
            if verdict.ok:
                continue
            key = "values", verdict.output
            pattern = "beyond the rms limit" if verdict.pattern is None else verdict.pattern.key
            self._first.setdefault(key, Problem("values", str(verdict), data, pattern))
            self._seen.setdefault(key, []).append((data, 0))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One for each kind and output, in the order in which they were seen first, without consequences of others."""
        found = []
        for key, problem in self._first.items():
            kind, tensor = key
            if any(kind in _CONSEQUENCES.get(of, ()) and (of, tensor) in self._first for of in _CONSEQUENCES):
                continue
            others = _CONSEQUENCES.get(kind, frozenset())
            too = [other for other, about in self._first if other in others and about == tensor]
            again = [_again(self._seen[key]), *([f"and so {', '.join(too)}"] if too else [])]
            found.append(replace(problem, again=", ".join(filter(None, again))))
        return tuple(found)

    def _of(self, violation: Violation, threads: int) -> Problem:
        if violation.elements is None:
            return Problem(str(violation.kind), violation.detail, threads=threads)
        grid = self.grid_of(violation.tensor)
        pattern = pattern_of(
            violation.elements, grid=replace(grid, threads=threads if violation.kind in _BY_THREADS else 1)
        )
        if pattern is None:
            return Problem(str(violation.kind), violation.detail, threads=threads)
        return Problem(str(violation.kind), f"{pattern}; {violation.detail}", pattern=pattern.key, threads=threads)


def _again(seen: Sequence[tuple[DataSeed, int]]) -> str:
    """How often, on how much data, with which numbers of threads; nothing for once."""
    return ", ".join(_parts(seen)) if len(seen) > 1 else ""


def _parts(seen: Sequence[tuple[DataSeed, int]]) -> Iterator[str]:
    data = dict.fromkeys(one for one, _ in seen)
    if len(data) < len(seen):
        yield f"seen {len(seen)} times"
    if len(data) > 1:
        yield f"{'seen ' if len(data) == len(seen) else ''}on {len(data)} data sets"
    threads = sorted({number for _, number in seen if number})
    if len(threads) > 1:
        yield f"with {', '.join(map(str, threads[:-1]))} and {threads[-1]} threads"
