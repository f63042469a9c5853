"""`python -m fuzz.campaign.emulated`: one program of every case, on the processor and in the emulator, bit for bit.

What an emulator shows on another machine counts as much as what it shows here: where both can be had, they are equal.
The instruction that Bochs is known to get wrong is left out on both sides.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from fuzz.campaign.explore import Explorer
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import draw, runner_line
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.build import BuildError, Executable, build_net
from fuzz.run.checks import LIGHT, QUICK, Checks
from fuzz.run.emulator.mended import mended
from fuzz.run.outcome import RunReport
from fuzz.run.runners import Runner, choose_runner
from fuzz.run.sandbox import execute
from fuzz.targets import OURS, Sources, Target
from nn512.errors import Nn512Error
from nn512.graph import parse
from nn512.kernels.registry import competing_kernels
from nn512.options import Options
from nn512.signals import ending_on_signals

FULLY = Checks(QUICK, failures=False)
"""The first data set of a case: threads, guard pages on both sides, and two engines that share a net."""

_TOLD = 25
"""Cases after which there is a line about how far it is."""


def check_equal(case: Case, emulated: Runner, target: Target = OURS, elsewhere: Target | None = None) -> Report:
    """Run one case in both ways; where results differ, that is a problem of the report.

    `emulated` is a runner that links statically for a machine of its own: its programs are run here as they are.
    `elsewhere` is what the emulator is given, if that is something else. Raises CannotRunError.
    """
    graph, options = parse(case.graph, "net.graph"), Options.from_dict(dict(case.options))
    here = replace(emulated, machine=None, slowdown=1.0)
    report = Report(case, graph, runner_line(emulated))
    programs: list[Executable] = []
    for one in (target, elsewhere or target):
        sources = one.prepare(graph, options)
        if isinstance(sources, Problem):
            return replace(report, problems=(sources,))
        assert isinstance(sources, Sources), "what is no C of ours cannot be compared"
        sources = replace(sources, source=mended(sources.source))
        report = report if programs else replace(report, sources=sources)
        try:
            programs.append(_build(case, sources, emulated))
        except BuildError as error:
            return replace(report, problems=(Problem("build", str(error)),))
    problems = []
    for number, data in enumerate(draw(case, graph)):
        checks = LIGHT if number else FULLY
        right = execute(replace(programs[0], runner=here), data.params, [data.inputs], checks)
        other = execute(programs[1], data.params, [data.inputs], checks)
        seed = DataSeed(data.regime, data.seed)
        problems += [Problem("emulated", text, seed) for text in differences(right, other)]
    return replace(report, problems=tuple(problems), executed=True)


def _build(case: Case, sources: Sources, runner: Runner) -> Executable:
    return build_net(parse(case.graph), sources.header, sources.source, runner, flags=(case.optimisation,))


def differences(right: RunReport, other: RunReport) -> list[str]:
    """What an emulated run shows otherwise than the processor does: how it ends, or bits of its outputs."""
    if (right.status, _kinds(right)) != (other.status, _kinds(other)):
        return [f"{right.status}, {_kinds(right)} here; {other.status}, {_kinds(other)} in the emulator"]
    if len(right.outputs) != len(other.outputs):
        return [f"{len(right.outputs)} data sets computed here, {len(other.outputs)} in the emulator"]
    found = []
    for number, (expected, outputs) in enumerate(zip(right.outputs, other.outputs, strict=True)):
        for name, array in expected.items():
            bits, wrong = array.view(np.uint32), outputs[name].view(np.uint32)
            if count := int(np.count_nonzero(bits != wrong)):
                first = int(np.flatnonzero(bits != wrong)[0])
                at = f"element {first} is {bits.flat[first]:08x} here and {wrong.flat[first]:08x} there"
                found.append(f"{name}, data set {number}: {count} of {bits.size} elements differ; {at}")
    return found


def _kinds(report: RunReport) -> list[str]:
    return sorted({str(violation.kind) for violation in report.violations})


def compare(cases: int, seed: int, directory: Path, stream: TextIO) -> int:
    """Compare random cases of all kernels and tell; 1 where something differs. Raises CannotRunError."""
    emulated = choose_runner("bochs")
    stream.write(f"{choose_runner('native').line}\n{emulated.line}\n")
    began, done = time.monotonic(), 0
    kernels: Counter[str] = Counter()
    data_sets = 0

    def show(report: Report) -> None:
        nonlocal done, data_sets
        done, data_sets = done + 1, data_sets + len(report.case.data)
        kernels.update({layer.kernel for layer in report.layers})
        stream.writelines(f"{report.case.key}: {problem}\n" for problem in report.problems)
        if done % _TOLD == 0:
            stream.write(f"{done} cases, {time.monotonic() - began:.0f} s\n")
            stream.flush()

    findings = []
    forced = ("", *competing_kernels())
    for number, name in enumerate(forced):
        # As many for each kernel, and the first of them have what is left over.
        examples = (cases - number + len(forced) - 1) // len(forced)
        explorer = Explorer(
            directory,
            show,
            check=lambda case: check_equal(case, emulated),
            regimes=tuple(REGIMES),
            kernels=(name,) if name else (),
        )
        findings += explorer.chunk(seed * 1_000_000 + number, examples)
    stream.write(
        f"{done} cases on {data_sets} data sets in {time.monotonic() - began:.0f} s: "
        f"{'all equal bit for bit' if not findings else f'{len(findings)} findings in {directory}'}\n"
        f"kernels: {', '.join(f'{name} {count}' for name, count in sorted(kernels.items()))}\n"
    )
    return 1 if findings else 0


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Compare, and return an exit code as the command line's."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.campaign.emulated", description=(__doc__ or "").partition(": ")[2].partition("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=300, help="random cases (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of graphs and data (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("findings"), help="where findings go (default: findings)")
    given = parser.parse_args(arguments)
    try:
        with ending_on_signals():
            return compare(given.cases, given.seed, given.out, stream)
    except Nn512Error as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
