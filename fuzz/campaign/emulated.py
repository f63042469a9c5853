"""`python -m fuzz.campaign.emulated`: one program of every case, on the processor and in the emulator, bit for bit.

What an emulator shows on another machine counts as much as what it shows here: where both can be had, they are equal.
The instruction that Bochs is known to get wrong is left out on both sides.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from fuzz.campaign.comparing import command, compare, differences
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import draw, runner_line
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.build import BuildError, Executable, build_net
from fuzz.run.checks import LIGHT, QUICK, Checks
from fuzz.run.emulator.mended import mended
from fuzz.run.runners import Runner, choose_runner
from fuzz.run.sandbox import execute
from fuzz.targets import OURS, Sources, Target
from nn512.graph import parse
from nn512.options import Options

FULLY = Checks(QUICK, failures=False)
"""The first data set of a case: threads, guard pages on both sides, and two engines that share a net."""


def check_equal(case: Case, emulated: Runner, target: Target = OURS, elsewhere: Target | None = None) -> Report:
    """Run one case in both ways; where results differ, that is a problem of the report.

    `emulated` is a runner that links statically for a machine of its own: its programs are run here as they are.
    `elsewhere` is what the emulator is given, if that is something else. All nets are for
    the platform AVX512Float32 where it has no AVX512_BF16, as in Bochs 2.7. Raises CannotRunError.
    """
    graph, options = parse(case.graph, "net.graph"), Options.from_dict(dict(case.options))
    if not emulated.bfloat16:
        options = replace(options, platform="AVX512Float32")
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
        problems += [
            Problem("emulated", text, seed) for text in differences(right, other, "in the emulator", same_code=True)
        ]
    return replace(report, problems=tuple(problems), executed=True)


def _build(case: Case, sources: Sources, runner: Runner) -> Executable:
    return build_net(parse(case.graph), sources.header, sources.source, runner, flags=(case.optimisation,))


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Compare, and return an exit code as the command line's."""

    def run(given: argparse.Namespace) -> int:
        emulated = choose_runner("bochs")
        stream.write(f"{choose_runner('native').line}\n{emulated.line}\n")
        return compare(lambda case: check_equal(case, emulated), given.cases, given.seed, given.out, stream)

    return command(arguments, "fuzz.campaign.emulated", __doc__ or "", 300, run)


if __name__ == "__main__":
    sys.exit(main())
