"""Random cases of every kernel, built or run in several ways that must agree bit for bit; what differs is a finding."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from fuzz.campaign.explore import Check, Explorer
from fuzz.draw.regimes import REGIMES
from fuzz.judge.report import Report
from fuzz.run.outcome import RunReport
from nn512.errors import Nn512Error
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


def compare(
    check: Check, cases: int, seed: int, directory: Path, stream: TextIO, regimes: Sequence[str] = tuple(REGIMES)
) -> int:
    """Check random cases of all kernels, on data of `regimes`, and tell; 1 for a finding. Raises CannotRunError."""
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
        words = f"{failed} failed, see {directory}" if failed else "all equal bit for bit"
        stream.write(
            f"{first}{done} cases on {data_sets} data sets in {time.monotonic() - began:.0f} s: {words}\n"
            f"kernels: {', '.join(f'{name} {count}' for name, count in sorted(kernels.items()))}\n"
        )
        stream.flush()

    forced = ("", *competing_kernels())
    try:
        for number, name in enumerate(forced):
            # As many for each kernel, and the first of them have what is left over.
            examples = (cases - number + len(forced) - 1) // len(forced)
            kernel = (name,) if name else ()
            explorer = Explorer(directory, show, check=check, regimes=tuple(regimes), kernels=kernel)
            explorer.chunk(seed * 1_000_000 + number, examples)
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
    run: Callable[[argparse.Namespace], int],
) -> int:
    """Read a command line with the number of cases, their seed and a folder, and do it; returns an exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description.partition(": ")[2].partition("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=cases, help=f"random cases (default: {cases})")
    parser.add_argument("--seed", type=int, default=0, help="seed of graphs and data (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("findings"), help="where findings go (default: findings)")
    given = parser.parse_args(arguments)

    def refused() -> int:
        try:
            return run(given)
        except Nn512Error as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code

    return until_ended(name, refused)
