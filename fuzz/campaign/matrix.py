"""`python -m fuzz.campaign.matrix`: every case built by all compilers here, at all levels, in all dialects: equal bits.

The C says what is computed, so neither a compiler nor its options may change a bit: sums of products are intrinsics,
and -ffp-contract=off keeps compilers from fusing the few that are not. No build may warn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TextIO

from fuzz.campaign.comparing import Comparison, command, compare, differences
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import draw, runner_line
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.build import BuildError, build_net
from fuzz.run.checks import QUICK, Checks
from fuzz.run.runners import Runner, choose_runner, soft
from fuzz.run.sandbox import execute
from fuzz.targets import OURS, Sources, Target
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.options import Options
from nn512.toolchain import Compiler, CompilerKind, all_compilers, build, find_compiler, run_bounded

COMMON = ("-ffp-contract=off", "-Wshadow")
"""Options of every build, beside -Wall -Wextra -Werror."""

PEDANTIC = "-pedantic"
"""An option of all builds but those with portable intrinsics: their registers are structs, and a cast of a vector to
another type is there one of a struct to its own type, which is GNU C."""

CONVERSIONS = "-Wconversion"
"""An option of all builds but gcc's at -O0: intrinsics with immediates are macros of its header there, and convert."""

LEVELS = tuple((level,) for level in ("-O0", "-O1", "-O2", "-O3"))
DIALECTS = tuple(("-O1", f"-std={name}") for name in ("c11", "c17", "c2x", "c23", "gnu99"))
PROCESSORS = tuple(("-O2", f"-march={name}") for name in ("skylake-avx512", "icelake-server", "sapphirerapids"))
"""For processors with instructions that emitted code does not ask for, and compilers take where they may. A processor
that lacks them cannot run it, so these are built, and run where this one is such."""

_MUSL = "musl-gcc"
FEW = ("gaussian", "nonfinite")
"""Data regimes of the cases: every variant runs them all."""

_LIGHT = Checks(QUICK, api=False, sharing=False, failures=False, endurance=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to build C: the compiler in its runner, and options. `runs`: whether this processor can execute it."""

    runner: Runner
    flags: tuple[str, ...]
    runs: bool = True

    @property
    def options(self) -> tuple[str, ...]:
        """All options for the compiler."""
        macros = self.runner.compiler.kind is CompilerKind.GCC and "-O0" in self.flags
        some = [PEDANTIC] * (self.runner.name != soft.NAME) + [CONVERSIONS] * (not macros)
        return (*self.flags, *COMMON, *some)

    def __str__(self) -> str:
        program = self.runner.compiler.path.rpartition("/")[2]
        return f"{program} {' '.join(self.flags)}"


def variants() -> tuple[Variant, ...]:
    """All that are possible here; the first is what the others are compared with. Raises CannotRunError."""
    found = []
    for compiler in all_compilers():
        runner = choose_runner(compiler=compiler)
        known = [flags for flags in (*LEVELS, *DIALECTS) if _takes(compiler, flags)]
        found += [Variant(runner, flags) for flags in known]
        if runner.name == "native":
            marches = [flags for flags in PROCESSORS if _takes(compiler, flags)]
            found += [Variant(runner, flags, _executes(compiler, flags)) for flags in marches]
    try:
        musl = choose_runner(compiler=find_compiler(_MUSL))
    except CannotRunError:
        return tuple(found)
    return (*found, *(Variant(musl, (*level, "-static")) for level in LEVELS))


def _takes(compiler: Compiler, flags: Sequence[str]) -> bool:
    """Whether a compiler knows options."""
    try:
        build(compiler, {"t.c": "int main(void) { return 0; }\n"}, [*flags, "t.c"], "t")
    except BuildError:
        return False
    return True


def _executes(compiler: Compiler, flags: Sequence[str]) -> bool:
    """Whether this processor has all that a compiler may use under a -march."""
    march = next(flag.partition("=")[2] for flag in flags if flag.startswith("-march="))
    text = f'int main(void) {{ __builtin_cpu_init(); return !__builtin_cpu_supports("{_FEATURE[march]}"); }}\n'
    try:
        program = build(compiler, {"t.c": text}, ["t.c"], "t").path
    except BuildError:
        return False
    return run_bounded([str(program)], timeout=60)[0] == 0


_FEATURE = {"skylake-avx512": "avx512vl", "icelake-server": "avx512vbmi2", "sapphirerapids": "avx512fp16"}
"""What of all that compilers may use for such a processor the fewest others have; a compiler may not know to ask."""


def check_variants(case: Case, ways: Sequence[Variant], target: Target = OURS) -> Report:
    """Build one case in all ways and run it; what warns, fails or differs from the first is a problem of the report."""
    graph = parse(case.graph, "net.graph")
    report = Report(case, graph, runner_line(ways[0].runner))
    sources = target.prepare(graph, Options.from_dict(dict(case.options)))
    if isinstance(sources, Problem):
        return replace(report, problems=(sources,))
    assert isinstance(sources, Sources), "what is no C cannot be built"
    report = replace(report, sources=sources)
    data = draw(case, graph)
    problems, first = [], None
    for way in ways:
        try:
            program = build_net(graph, sources.header, sources.source, way.runner, flags=way.options)
        except BuildError as error:
            problems.append(Problem("build", f"{way}: {error}"))
            continue
        if not way.runs:
            continue
        runs = [execute(program, one.params, [one.inputs], _LIGHT) for one in data]
        first = first or (way, runs)
        for one, right, other in zip(data, first[1], runs, strict=True):
            told = differences(right, other, f"with {way}")
            problems += [Problem("matrix", text, DataSeed(one.regime, one.seed)) for text in told]
            problems += [] if other.ok else [Problem("matrix", f"{way}: {v.detail}") for v in other.violations]
    return replace(report, problems=tuple(problems), executed=first is not None)


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Compare, and return an exit code as the command line's."""

    def run(what: Comparison) -> int:
        ways = variants()
        stream.write(
            f"{ways[0].runner.line}\n{len(ways)} ways to build, beside {' '.join(COMMON)} {PEDANTIC} {CONVERSIONS}:\n"
        )
        stream.writelines(f"  {way}{'' if way.runs else '   (built, not run)'}\n" for way in ways)
        stream.flush()
        return compare(lambda case: check_variants(case, ways), replace(what, regimes=FEW), stream)

    return command(arguments, "fuzz.campaign.matrix", __doc__ or "", 20, run)


if __name__ == "__main__":
    sys.exit(main())
