"""One mutant before the checker that campaigns use: the first problem ends it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from fuzz import floats
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import REGIMES, DataSet
from fuzz.judge.checker import check_sources, draw
from fuzz.mutation.equivalent import changes_places_alone, decided_by_shape, same_code
from fuzz.problem import Problem
from fuzz.run.build import build_net
from fuzz.run.checks import LIGHT, Checks
from fuzz.run.runners import Runner, Sanitizer, runner_for, soft
from fuzz.run.sandbox import execute
from fuzz.targets import OURS, Sources
from fuzz.targets.mutants import Mutant
from nn512.errors import UsageError
from nn512.graph import Graph, parse
from nn512.kernels.elementary import FUNCTIONS
from nn512.options import Options

CHEAP = ("exact", "gaussian", "nonfinite", "impulse", "tiles", "taps", "wide", "nan")
"""Data regimes in the order in which they find most per second; the others follow."""

TIMEOUT = 5.0
"""Seconds without progress that are a hang: the nets of mutants are small."""

STRIDE = 4093
"""Of the floats every so many are tried in an elementary function."""

DENSE = 127
"""The same where none was found on which it errs too much."""

POWER_FUNCTION = "inverse_power"
"""A routine of two arguments, of which one is kept."""

_MEASURED = frozenset({*FUNCTIONS, POWER_FUNCTION})

COEFFICIENT = "wrong constant"
"""The operator that changes coefficients of elementary functions."""

GENERIC = tuple(DataSeed(regime, seed) for regime in ("gaussian", "positive", "nan") for seed in (0, 1))
"""Data no two numbers of which are alike, and such with NaN, which goes through what is multiplied by zero."""


class Fate(enum.Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"
    STILLBORN = "does not build"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a mutant, and by what: the kind of the problem, or why it is no bug."""

    fate: Fate
    by: str
    data: str = ""


@dataclass(frozen=True)
class Judge:
    """Judges mutants of the C of one net. `text` is its graph, `options` those of the compiler."""

    text: str
    origin: str
    options: Options
    data: tuple[DataSeed, ...] = ()

    @cached_property
    def runner(self) -> Runner:
        """What runs here."""
        return runner_for()

    @cached_property
    def graph(self) -> Graph:
        """The net."""
        return parse(self.text, self.origin)

    @cached_property
    def sources(self) -> Sources:
        """The unbroken C. Raises UsageError where the compiler fails."""
        made = OURS.prepare(self.graph, self.options)
        if isinstance(made, Problem):
            raise UsageError(f"{self.origin}: {made}")
        return made

    @cached_property
    def _case(self) -> Case:
        regimes = (*CHEAP, *(name for name in REGIMES if name not in CHEAP))
        seeds = self.data or tuple(DataSeed(regime, 0) for regime in regimes)
        return Case(self.text, self.options.to_dict(), "-Og", seeds)

    @cached_property
    def _data(self) -> list[DataSet]:
        return draw(self._case, self.graph)

    def unbroken(self) -> tuple[Problem, ...]:
        """What is wrong without any change: nothing, or mutants mean nothing."""
        return self._problem(self.sources, self._stages(sandbox_first=False))

    def judge(self, mutant: Mutant) -> Judgement:
        """What becomes of a mutant."""
        numeric = decided_by_shape(mutant)
        problems = self._problem(mutant.sources, self._stages(sandbox_first=not numeric))
        if problems:
            if problems[0].kind == "build":
                return Judgement(Fate.STILLBORN, "build")
            return Judgement(Fate.KILLED, problems[0].kind, str(problems[0].data or ""))
        if reason := same_code(mutant, self.runner.compiler):
            return Judgement(Fate.EQUIVALENT, reason)
        if numeric and self._unreached(mutant):
            return Judgement(Fate.EQUIVALENT, "nothing reaches it in this shape")
        if mutant.function in _MEASURED:
            if _errs(mutant, STRIDE) or _errs(mutant, DENSE):
                return Judgement(Fate.KILLED, "fuzz.floats")
            if mutant.operator == COEFFICIENT:
                return Judgement(Fate.EQUIVALENT, "errs no more than the function declares")
        if found := self._sanitized(mutant):
            return Judgement(Fate.KILLED, found)
        if changes_places_alone(mutant) and self._computes_the_same(mutant):
            return Judgement(Fate.EQUIVALENT, "the same bits on numbers that are all different")
        return Judgement(Fate.SURVIVED, "")

    def _stages(self, *, sandbox_first: bool) -> Iterator[tuple[DataSet, Checks]]:
        """What to run, cheap and telling things first."""
        full = (self._data[0], Checks(timeout=TIMEOUT))
        if sandbox_first:
            yield full
        for data in self._data:
            yield data, replace(LIGHT, timeout=TIMEOUT)
        if not sandbox_first:
            yield full

    def _problem(self, sources: Sources, stages: Iterator[tuple[DataSet, Checks]]) -> tuple[Problem, ...]:
        for data, checks in stages:
            if found := self._check(sources, [data], self.runner, checks):
                return found
        return ()

    def _check(self, sources: Sources, data: Sequence[DataSet], runner: Runner, checks: Checks) -> tuple[Problem, ...]:
        return check_sources(self._case, self.graph, sources, data, runner, checks=checks, strict=False).problems

    def _unreached(self, mutant: Mutant) -> bool:
        trapped = mutant.trapped
        return trapped is not None and not self._check(trapped, self._data[:1], self.runner, Checks(timeout=TIMEOUT))

    def _computes_the_same(self, mutant: Mutant) -> bool:
        """Whether all outputs are those of the unbroken C bit for bit."""
        return self._bits(mutant.sources) == self._bits(self.sources)

    def _bits(self, sources: Sources) -> list[bytes]:
        """The outputs on generic data."""
        flags = (self._case.optimisation,)
        executable = build_net(self.graph, sources.header, sources.source, self.runner, flags=flags, strict=False)
        found = []
        for data in draw(replace(self._case, data=GENERIC), self.graph):
            run = execute(executable, data.params, [data.inputs], replace(LIGHT, timeout=TIMEOUT))
            found += [array.tobytes() for outputs in run.outputs for _, array in sorted(outputs.items())]
        return found

    def _sanitized(self, mutant: Mutant) -> str:
        """The sanitizer that objects, with intrinsics in portable C; "" for none: races in threads, else addresses."""
        sanitizers = (Sanitizer.ADDRESS, Sanitizer.UNDEFINED) if decided_by_shape(mutant) else (Sanitizer.THREAD,)
        runner = soft.probe(self.runner.compiler, sanitizers)
        if not isinstance(runner, Runner):
            return ""
        checks = replace(LIGHT, timeout=TIMEOUT / 20)  # of which such runners get their multiple
        found = self._check(mutant.sources, self._data[1:2], runner, checks)
        if not found or found[0].kind == "build":
            return ""
        return " and ".join(sanitizer.value for sanitizer in sanitizers) + " sanitizer"


def _errs(mutant: Mutant, stride: int) -> bool:
    """Whether an elementary function has been changed such that it errs more than it declares."""
    source = mutant.sources.source
    start = source.index(f"static INLINE __m512 {mutant.function}(")
    broken = source[start : source.index("\n}", start) + 3].replace("$", "$$")
    if mutant.function == POWER_FUNCTION:
        function = floats.with_exponent(broken)
    else:
        function = replace(FUNCTIONS[mutant.function], text=broken)
    return floats.measure(function, stride).ulps > function.ulps
