"""The mutants of nets, chosen, judged by several processes, and counted."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from fuzz.mutation.judging import Fate, Judge, Judgement
from fuzz.targets.mutants import Mutant, mutants
from nn512.errors import Nn512Error

T = TypeVar("T")
R = TypeVar("R")

_COMMON = ("", "Threads")
"""Parts of emitted files that are the same for every net: only those of the first one are changed."""


@dataclass(frozen=True, slots=True)
class Result:
    """A mutant and what became of it. `net` is the file of the graph."""

    net: str
    operator: str
    section: str
    line: int
    before: str
    after: str
    fate: Fate
    by: str
    data: str

    @classmethod
    def of(cls, net: str, mutant: Mutant, judgement: Judgement) -> Result:
        """The result without the sources, small enough to send and to keep."""
        before, after = mutant.before.strip(), mutant.after.strip()
        what = (mutant.operator, mutant.section, mutant.line, before, after)
        return cls(net, *what, judgement.fate, judgement.by, judgement.data)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__} | {"fate": self.fate.value}

    def lines(self) -> Iterator[str]:
        """What to print of a survivor."""
        yield f"{self.net}, line {self.line} ({self.section or 'the start'}): {self.operator}"
        yield f"    - {self.before}"
        yield f"    + {self.after}"


@dataclass(slots=True)
class Score:
    """What became of all mutants."""

    results: list[Result] = field(default_factory=list)

    def count(self, fate: Fate) -> int:
        """How many ended like that."""
        return sum(result.fate is fate for result in self.results)

    @property
    def survivors(self) -> list[Result]:
        """The holes."""
        return [result for result in self.results if result.fate is Fate.SURVIVED]

    @property
    def counted(self) -> int:
        """Mutants that build and are bugs."""
        return self.count(Fate.KILLED) + self.count(Fate.SURVIVED)

    @property
    def percent(self) -> float:
        """How many of 100 such are found; none of none is 0."""
        return 100 * self.count(Fate.KILLED) / self.counted if self.counted else 0.0

    def lines(self) -> Iterator[str]:
        """The summary."""
        yield (
            f"{self.percent:.1f} % of {self.counted} mutants found; {self.count(Fate.SURVIVED)} survived, "
            f"{self.count(Fate.EQUIVALENT)} are equivalent, {self.count(Fate.STILLBORN)} do not build"
        )
        for title, fate in (("found by", Fate.KILLED), ("equivalent", Fate.EQUIVALENT)):
            by = Counter(result.by for result in self.results if result.fate is fate)
            if by:
                yield f"  {title:<12}" + ", ".join(f"{reason} {count}" for reason, count in by.most_common())


@dataclass(frozen=True, slots=True)
class Choice:
    """Which mutants of each net: the first `limit`, or `sample` of them drawn by `seed`; all without either."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def of(self, count: int, net: int) -> list[int]:
        """The numbers of those chosen, rising."""
        numbers = range(count)
        if self.sample is not None and self.sample < count:
            numbers = sorted(random.Random(f"{self.seed}/{net}").sample(numbers, self.sample))  # type: ignore[assignment]
        return list(itertools.islice(numbers, self.limit))


def mutants_of(judge: Judge, *, first: bool) -> list[Mutant]:
    """All mutants of a net; those of what all nets have in common for the first one alone."""
    made = mutants(judge.sources)
    return list(made) if first else [mutant for mutant in made if mutant.section not in _COMMON]


def score(judges: Sequence[Judge], choice: Choice, jobs: int = 1) -> Iterator[tuple[Result, int]]:
    """Results in the order of the nets and of their text, each with how many there will be in all.

    Raises FaultError if something is found wrong before anything is changed.
    """
    nets = range(len(judges))
    wanted = [(net, number) for net in nets for number in choice.of(len(mutants_of(judges[net], first=net == 0)), net)]
    with _judges_at_work(judges, jobs) as mapped:
        for net, fault in zip(nets, mapped(_fault_of, nets), strict=True):
            if fault:
                raise FaultError(f"{judges[net].origin}: wrong before anything is changed: {fault}")
        for result in mapped(_judge, wanted):
            yield result, len(wanted)


class FaultError(Nn512Error):
    """The C of a net is found wrong as it is: a mutant of it would say nothing."""

    exit_code = 1


class _Mapped(Protocol):
    """A function of the bench for every item, in their order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]: ...


@contextlib.contextmanager
def _judges_at_work(judges: Sequence[Judge], jobs: int) -> Iterator[_Mapped]:
    """Here, or in so many processes."""
    if jobs == 1:
        _BENCH[:] = judges
        _mutants.cache_clear()
        yield _here
        return
    # What a judge has made of its net stays here: it is made again faster than it is sent.
    fresh = [replace(judge) for judge in judges]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _start_worker, (fresh,)) as pool:

        def there(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
            return pool.map(function, items)

        try:
            yield there
        finally:
            pool.shutdown(cancel_futures=True)


def _here(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    return map(function, items)


_BENCH: list[Judge] = []
"""The judges of this process."""


def _start_worker(judges: list[Judge]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent ends us
    _BENCH[:] = judges


@functools.cache
def _mutants(net: int) -> list[Mutant]:
    return mutants_of(_BENCH[net], first=net == 0)


def _fault_of(net: int) -> str:
    return "".join(str(problem) for problem in _BENCH[net].unbroken()[:1])


def _judge(place: tuple[int, int]) -> Result:
    net, number = place
    mutant = _mutants(net)[number]
    return Result.of(_BENCH[net].origin, mutant, _BENCH[net].judge(mutant))
