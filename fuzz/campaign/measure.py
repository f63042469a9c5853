"""Measures how many sigma emitted code errs: the largest and the rms error over sigma, per algorithm.

Kernels whose arithmetic is not direct are forced on as many graphs of their own, so that every algorithm is seen. What
is far below the limits is in sigma without samples, which are asked for elsewhere only: no less than with them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from fuzz.campaign.explore import Explorer
from fuzz.judge.compare import Outcome
from fuzz.judge.layers import behind
from fuzz.judge.limits import LIMITS
from fuzz.judge.report import Report
from fuzz.run.runners import runner_for
from nn512.kernels.registry import KERNELS
from nn512.signals import until_ended

REGIMES = ("gaussian", "positive", "cancelling", "wide")
"""Data on which arithmetic rounds."""


@dataclass(slots=True)
class _Seen:
    """The largest numbers seen for one algorithm."""

    elements: int = 0
    maximum: float = 0.0
    rms: float = 0.0
    where: str = ""


def measure(examples: int, seed: int, stream: TextIO) -> int:
    """Check random graphs, `examples` for each algorithm, and print a table.

    Returns 1 where a limit is exceeded, or an algorithm was not seen.
    """
    seen: dict[str, _Seen] = defaultdict(_Seen)
    wrong = 0

    def show(report: Report) -> None:
        nonlocal wrong
        wrong += bool(report.problems)
        stream.writelines(
            f"case {report.case.key}: {str(problem).splitlines()[0]}\n" for problem in report.problems[:1]
        )
        for data, verdicts in report.verdicts.items():
            for verdict in verdicts:
                if verdict.outcome not in (Outcome.WITHIN, Outcome.WRONG):
                    continue
                for algorithm in {layer.arithmetic for layer in behind(report.graph, report.layers, {verdict.output})}:
                    entry = seen[algorithm]
                    entry.elements += verdict.compared
                    if verdict.max_sigma > entry.maximum:
                        entry.maximum, entry.where = verdict.max_sigma, f"case {report.case.key}, {data}"
                    if verdict.compared >= LIMITS[algorithm].rms_from:
                        entry.rms = max(entry.rms, verdict.rms_sigma)

    stream.write(f"{runner_for().line}\n")
    chunks = kernels_by_arithmetic()
    with tempfile.TemporaryDirectory() as scratch:
        for kernels in chunks.values():
            Explorer(Path(scratch), show, regimes=REGIMES, kernels=kernels).chunk(seed, examples)
    stream.write(
        f"{examples} random graphs for each algorithm, from seed {seed}, data: {', '.join(REGIMES)}; {wrong} wrong\n"
    )
    stream.write(f"{'algorithm':<12}{'elements':>12}{'max':>8}{'limit':>8}{'rms':>8}{'limit':>8}  largest error\n")
    exceeded = False
    for algorithm, entry in sorted(seen.items()):
        limit = LIMITS[algorithm]
        exceeded |= entry.maximum > limit.maximum or entry.rms > limit.rms
        stream.write(
            f"{algorithm:<12}{entry.elements:>12}{entry.maximum:>8.2f}{limit.maximum:>8g}"
            f"{entry.rms:>8.2f}{limit.rms:>8g}  {entry.where}\n"
        )
    return 1 if exceeded or wrong or set(seen) < set(chunks) else 0


def kernels_by_arithmetic() -> dict[str, tuple[str, ...]]:
    """The kernels to force for each algorithm; those that sum directly need not be."""
    found: dict[str, tuple[str, ...]] = {"direct": ()}
    for kernel in KERNELS:
        if kernel.arithmetic != "direct":
            found[kernel.arithmetic] = (*found.get(kernel.arithmetic, ()), kernel.name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the error limits on emitted code: `python -m fuzz.campaign.measure [--examples N] [--seed S]`."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.campaign.measure", description=main.__doc__)
    parser.add_argument("--examples", type=int, default=200, metavar="N", help="random graphs for each algorithm (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the graphs and data (0)")
    wanted = parser.parse_args(arguments)
    return measure(wanted.examples, wanted.seed, sys.stdout)


if __name__ == "__main__":
    sys.exit(until_ended("fuzz.campaign.measure", main))
