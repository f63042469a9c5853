"""Random cases of every kernel, built or run in several ways that must agree bit for bit; what differs is a finding."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from fuzz.campaign.explore import Check, Explorer
from fuzz.campaign.named import forced_kernels
from fuzz.case import Case
from fuzz.draw.regimes import REGIMES
from fuzz.judge.report import Report
from fuzz.run.outcome import RunReport
from nn512.errors import Nn512Error, UsageError
from nn512.kernels.registry import competing_kernels
from nn512.signals import EndedError, until_ended

_TOLD = 25
"""Cases after which there is a line about how far it is."""


def differences(right: RunReport, other: RunReport, there: str, *, same_code: bool = False) -> list[str]:
    """What the run `there` shows otherwise than the first: how it ends, or bits of its outputs.

    The `same_code` has the same NaNs; in another build they come from whichever operand the compiler put first.
    """
    if (right.status, _kinds(right)) != (other.status, _kinds(other)):
        return [f"{right.status}, {_kinds(right)} here; {other.status}, {_kinds(other)} {there}"]
    if len(right.outputs) != len(other.outputs):
        return [f"{len(right.outputs)} data sets computed here, {len(other.outputs)} {there}"]
    found = []
    for number, (expected, outputs) in enumerate(zip(right.outputs, other.outputs, strict=True)):
        for name, array in expected.items():
            bits, others = array.view(np.uint32), outputs[name].view(np.uint32)
            wrong = bits != others
            if not same_code:
                wrong &= ~(np.isnan(array) & np.isnan(outputs[name]))
            if count := int(np.count_nonzero(wrong)):
                first = int(np.flatnonzero(wrong)[0])
                at = f"element {first} is {bits.flat[first]:08x} here and {others.flat[first]:08x} {there}"
                found.append(f"{name}, data set {number}: {count} of {bits.size} elements differ; {at}")
    return found


def _kinds(report: RunReport) -> list[str]:
    return sorted({str(violation.kind) for violation in report.violations})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which cases are compared, and where findings go.

    `kernels` are forced in turn, "" being none. A case has a data set of every regime, or `data_sets` of these.
    """

    cases: int
    seed: int
    directory: Path
    kernels: tuple[str, ...] = field(default_factory=lambda: ("", *competing_kernels()))
    regimes: tuple[str, ...] = tuple(REGIMES)
    data_sets: int | None = None


def some_data(case: Case, most: int | None) -> Case:
    """The case with at most so many of its data sets: neighbours in a ring, from a place that its key decides."""
    count = len(case.data)
    if most is None or count <= most:
        return case
    first = int(case.key, 16) % count
    return replace(case, data=tuple(case.data[(first + number) % count] for number in range(most)))


def compare(check: Check, what: Comparison, stream: TextIO) -> int:
    """Check random cases and tell; 1 for a finding. Raises CannotRunError."""
    began, done, failed = time.monotonic(), 0, 0
    kernels: Counter[str] = Counter()
    data_sets = 0

    def show(report: Report) -> None:
        nonlocal done, data_sets, failed
        failed += bool(report.problems)
        done, data_sets = done + 1, data_sets + len(report.case.data)
        kernels.update({layer.kernel for layer in report.layers})
        stream.writelines(f"{report.case.key}: {problem}\n" for problem in report.problems)
        if done % _TOLD == 0:
            stream.write(f"{done} cases, {time.monotonic() - began:.0f} s\n")
            stream.flush()

    def tell(first: str) -> None:
        words = f"{failed} failed, see {what.directory}" if failed else "all equal bit for bit"
        stream.write(
            f"{first}{done} cases on {data_sets} data sets in {time.monotonic() - began:.0f} s: {words}\n"
            f"kernels: {', '.join(f'{name} {count}' for name, count in sorted(kernels.items()))}\n"
        )
        if missed := [name for name in what.kernels if name and name not in kernels]:
            stream.write(f"no case had: {', '.join(missed)}\n")
        stream.flush()

    def check_some(case: Case) -> Report:
        return check(some_data(case, what.data_sets))

    try:
        for number, name in enumerate(what.kernels):
            # As many for each kernel, and the first of them have what is left over. Every chunk begins with the same
            # net, the simplest there is, which shows nothing of a kernel and is left out.
            examples = (what.cases - number + len(what.kernels) - 1) // len(what.kernels)
            kernel = (name,) if name else ()
            explorer = Explorer(what.directory, show, check=check_some, regimes=what.regimes, kernels=kernel)
            explorer.chunk(what.seed * 1_000_000 + number, examples + 1, position=1)
    except (KeyboardInterrupt, EndedError):
        tell("ended early: ")
        raise
    tell("")
    return 1 if failed else 0


def command(
    arguments: Sequence[str] | None,
    name: str,
    description: str,
    cases: int,
    run: Callable[[Comparison], int],
) -> int:
    """Read a command line that says what to compare, by default so many cases, and do it; returns an exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description.partition(": ")[2].partition("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=cases, help=f"random cases (default: {cases})")
    parser.add_argument("--seed", type=int, default=0, help="seed of graphs and data (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("findings"), help="where findings go (default: findings)")
    parser.add_argument(
        "--kernels", metavar="NAME,...", help="force these kernels in turn (default: none, and each that has rivals)"
    )
    parser.add_argument(
        "--data-sets", metavar="N", type=int, help="at most so many kinds of data per case, in turn (default: all)"
    )
    given = parser.parse_args(arguments)

    def refused() -> int:
        try:
            what = Comparison(given.cases, given.seed, given.out, data_sets=given.data_sets)
            for option, number in (("--cases", given.cases), ("--data-sets", given.data_sets)):
                if number is not None and number < 1:
                    raise UsageError(f"{option} must be at least 1, not {number}")
            return run(replace(what, kernels=forced_kernels(given.kernels) or what.kernels))
        except Nn512Error as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code

    return until_ended(name, refused)
