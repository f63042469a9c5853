"""`python -m fuzz.campaign.emulated`: every case in the emulator and outside of it, bit for bit.

Outside is this processor, which is given the same program. One without AVX-512 is given the C with portable intrinsics.
The instruction that Bochs is known to get wrong is left out on both sides.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from fuzz.campaign.comparing import Comparison, command, compare, differences
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import draw, runner_line
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.build import BuildError, Executable, build_net
from fuzz.run.checks import LIGHT, QUICK, Checks
from fuzz.run.emulator.mended import mended
from fuzz.run.runners import Runner, choose_runner, soft
from fuzz.run.sandbox import execute
from fuzz.targets import OURS, Sources, Target
from nn512.graph import parse
from nn512.options import Options
from nn512.toolchain import has_avx512

FULLY = Checks(QUICK, failures=False, endurance=False)
"""Threads, guard pages on both sides, and two engines that share a net: for a small net 2.5 seconds of the emulator,
where another of its data sets takes a third of one."""

SHARE = 4
"""One case of so many gets that, on its first data set: if its seed is a multiple, as 0 is, which seeds shrink to."""


def outside(emulated: Runner) -> Runner:
    """What an emulator is compared with here: this processor, or portable intrinsics where it has no AVX-512.

    `emulated` links statically for a machine of its own, so this processor can execute the same programs.
    Raises CannotRunError where there is neither.
    """
    if has_avx512(emulated.compiler):
        return replace(emulated, reason="this processor, the same programs", machine=None, slowdown=1.0)
    return choose_runner(soft.NAME, emulated.compiler)


def check_equal(
    case: Case, emulated: Runner, other: Runner, target: Target = OURS, elsewhere: Target | None = None
) -> Report:
    """Run one case under `emulated` and under `other` (see `outside`); different results are problems of the report.

    `elsewhere` is what the emulator is given, if that is something else. All nets are for
    the platform AVX512Float32 where it has no AVX512_BF16, as in Bochs 2.7. Raises CannotRunError.
    """
    graph, options = parse(case.graph, "net.graph"), Options.from_dict(dict(case.options))
    if not emulated.bfloat16:
        options = replace(options, platform="AVX512Float32")
    report = Report(case, graph, runner_line(emulated))
    programs: list[Executable] = []
    # Of one program the two runs share the build, which `machine` has no part in.
    for runner, one in ((other, target), (emulated, elsewhere or target)):
        sources = one.prepare(graph, options)
        if isinstance(sources, Problem):
            return replace(report, problems=(sources,))
        assert isinstance(sources, Sources), "what is no C of ours cannot be compared"
        sources = replace(sources, source=mended(sources.source))
        report = report if programs else replace(report, sources=sources)
        try:
            programs.append(_build(case, sources, runner))
        except BuildError as error:
            return replace(report, problems=(Problem("build", str(error)),))
    same_code = other.net_flags == emulated.net_flags
    problems = []
    for number, data in enumerate(draw(case, graph)):
        checks = LIGHT if number or data.seed % SHARE else FULLY
        right, there = (execute(program, data.params, [data.inputs], checks) for program in programs)
        seed = DataSeed(data.regime, data.seed)
        problems += [
            Problem("emulated", text, seed)
            for text in differences(right, there, "in the emulator", same_code=same_code)
        ]
    return replace(report, problems=tuple(problems), executed=True)


def _build(case: Case, sources: Sources, runner: Runner) -> Executable:
    return build_net(parse(case.graph), sources.header, sources.source, runner, flags=(case.optimisation,))


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Compare, and return an exit code as the command line's."""

    def run(what: Comparison) -> int:
        emulated = choose_runner("bochs")
        other = outside(emulated)
        stream.write(f"{other.line}\n{emulated.line}\n")
        stream.flush()
        return compare(lambda case: check_equal(case, emulated, other), what, stream)

    return command(arguments, "fuzz.campaign.emulated", __doc__ or "", 300, run)


if __name__ == "__main__":
    sys.exit(main())
