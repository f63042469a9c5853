"""One check of one case: prepare, build, run in the sandbox, compare with the reference; what is wrong is a Problem.

`check_case` does all of it. `check_sources`, a part of it, judges any C with the API, whoever emitted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.draw.regimes import DataSet
from fuzz.judge.answers import check_answers
from fuzz.judge.clock import Clock
from fuzz.judge.compare import Verdict
from fuzz.judge.folding import Folded
from fuzz.judge.layers import grid_of
from fuzz.judge.memory import HOOK, regions_of
from fuzz.judge.report import Culprit, Report
from fuzz.judge.standard import judged
from fuzz.judge.steps import Steps, Tell, nobody
from fuzz.problem import Problem
from fuzz.run.build import BuildError, build_net
from fuzz.run.checks import LIGHT, SHORT_MAC, Checks, work_of
from fuzz.run.outcome import Status
from fuzz.run.runners import Runner, runner_for, with_bfloat16
from fuzz.run.sandbox import execute
from fuzz.run.statics import static_data
from fuzz.targets import OURS, Sources, Target
from fuzz.targets.base import Arrays, Refused
from nn512.graph import Graph, parse
from nn512.options import Options
from nn512.plan.plan import uses_bfloat16
from nn512.toolchain import machine_faults

IN_ALL_THREADS = frozenset(("gaussian", "subnormal"))
"""Data that show what a thread does otherwise than the others: numbers are rounded, or taken for zeros."""

PLAIN = "-O3"
"""Level at which C is built as users build it; elsewhere ours shows its memory between layers, which is a call each."""


@machine_faults("this case cannot be checked")
def check_case(
    case: Case,
    data: Sequence[DataSet] = (),
    runner: Runner | None = None,
    checks: Checks | None = None,
    target: Target = OURS,
    tell: Tell = nobody,
) -> Report:
    """Check what `target` makes of a case, on the data sets its seeds give or on `data`; `tell` hears how far it is.

    Raises GraphError or UsageError for a broken case and CannotRunError where nothing can be built or run here; what
    else goes wrong is a problem of the report.
    """
    clock = Clock("draw")
    graph = parse(case.graph, "net.graph")
    given = data or [data_set for data_set in draw(case, graph) if data_set.regime not in target.skips]
    steps = Steps(tell, len(given), len(graph.layers), clock)
    report = _judged(case, graph, target, given, runner, checks, steps)
    return replace(report, target=target.name, seconds=clock.seconds)


def _judged(
    case: Case,
    graph: Graph,
    target: Target,
    data: Sequence[DataSet],
    runner: Runner | None,
    checks: Checks | None,
    steps: Steps,
) -> Report:
    """What `target` makes of a graph, judged."""
    steps.emitting()
    prepared = target.prepare(graph, Options.from_dict(dict(case.options)))
    if isinstance(prepared, Refused):
        return Report(case, graph, target.name, refused=prepared.why)
    if not isinstance(prepared, Sources | Problem):
        return check_answers(case, graph, target.name, prepared, data, steps)
    runner = runner or runner_for(case.compiler)
    if isinstance(prepared, Problem):
        return Report(case, graph, runner_line(runner), problems=(prepared,), culprit=_given(data), ran=runner)
    return _built_and_run(case, graph, prepared, data, runner, checks, steps, strict=target.strict)


@machine_faults("this case cannot be checked")
def check_sources(
    case: Case,
    graph: Graph,
    sources: Sources,
    data: Sequence[DataSet],
    runner: Runner,
    *,
    checks: Checks | None = None,
    strict: bool = True,
    tell: Tell = nobody,
) -> Report:
    """Build `sources`, run them on `data`, compare; `strict` makes warnings of the C compiler errors."""
    steps = Steps(tell, len(data), len(graph.layers), Clock("compile"))
    report = _built_and_run(case, graph, sources, data, runner, checks, steps, strict=strict)
    return replace(report, seconds=steps.clock.seconds)


def _built_and_run(
    case: Case,
    graph: Graph,
    sources: Sources,
    data: Sequence[DataSet],
    runner: Runner,
    checks: Checks | None,
    steps: Steps,
    *,
    strict: bool,
) -> Report:
    if sources.plan is not None and uses_bfloat16(sources.plan):
        runner = with_bfloat16(runner)
    report = Report(case, graph, runner_line(runner), sources, ran=runner, timeout=(checks or Checks()).timeout)
    optimisation = runner.level(case.optimisation)
    steps.building(optimisation)
    checks = _due(checks or Checks(), sources, graph, runner)
    regions = regions_of(sources.plan) if sources.plan and HOOK in sources.source and case.optimisation != PLAIN else ()
    try:
        executable = build_net(
            graph, sources.header, sources.source, runner, flags=(optimisation,), strict=strict, regions=regions
        )
    except BuildError as error:
        first = next((line for line in error.text.splitlines() if "error:" in line), error.summary)
        return replace(report, problems=(Problem("build", f"{first}\n{error}"),), culprit=_given(data))
    outputs = [output.from_tensor for output in graph.outputs]
    folded = Folded(lambda output: grid_of(graph, report.layers, output))
    verdicts: dict[DataSeed, tuple[Verdict, ...]] = {}
    culprit: Culprit | None = None
    executed = True
    if checks.promises and data:
        folded.add_violations(static_data(executable), DataSeed(data[0].regime, data[0].seed))
    for number, data_set in enumerate(data):
        seed = DataSeed(data_set.regime, data_set.seed)
        steps.running(number, seed)
        level = checks if number == 0 else _light(checks, data_set.regime)
        run = execute(executable, data_set.params, in_turn(data_set.inputs, level), level)
        executed &= run.status in (Status.OK, Status.VIOLATION) and bool(run.outputs)
        folded.add_violations([one for one in run.violations if one.kind not in level.waived], seed)
        got = run.outputs[0] if run.outputs else {}  # a run that crashed has none
        standard, verdicts[seed] = judged(
            *(report, data_set, got, outputs, steps, number), is_culprit=culprit is None and bool(folded.problems)
        )
        folded.add_verdicts(verdicts[seed], seed)
        if culprit is None and folded.problems:
            allowed = {name: standard.allowed(name) for name in outputs}
            culprit = Culprit(data_set, standard.expected, allowed, got)
        if run.status is Status.HANG:  # on other data it would most probably do the same, for as long
            break
    return replace(report, problems=folded.problems, verdicts=verdicts, executed=executed, culprit=culprit)


def _due(checks: Checks, sources: Sources, graph: Graph, runner: Runner) -> Checks:
    """What may be demanded: C that does not show its memory is not ours, and promises less.

    What takes long does not have to endure: large nets, and all in emulators, which are for instructions.
    """
    is_slow = work_of(graph) > SHORT_MAC or bool(runner.wrapper) or runner.machine is not None
    promises, endurance = checks.promises and HOOK in sources.source, checks.endurance and not is_slow
    return replace(checks, promises=promises, endurance=endurance)


def _light(checks: Checks, regime: str) -> Checks:
    """What is checked on data that are not the first."""
    light = replace(LIGHT, timeout=checks.timeout, waived=checks.waived)
    if regime not in IN_ALL_THREADS:
        return light
    more = [replace(one, repeats=1) for one in checks.configurations if one.threads > 2]
    return replace(light, configurations=(*light.configurations, *more))


def in_turn(inputs: Arrays, checks: Checks) -> list[Arrays]:
    """The inputs, and where that is checked two others that an engine gets after them: reversed, and all NaN.

    What an engine keeps of them, it shows where it gets the first again.
    """
    if not checks.turns:
        return [inputs]
    reversed_ = {name: array.ravel()[::-1].reshape(array.shape) for name, array in inputs.items()}
    return [inputs, reversed_, {name: np.full_like(array, np.nan) for name, array in inputs.items()}]


def _given(data: Sequence[DataSet]) -> Culprit | None:
    """The data set that a finding must keep although it was not run: a user gave it, no seed can draw it again."""
    return next((Culprit(data_set) for data_set in data if data_set.regime == regimes.GIVEN), None)


def runner_line(runner: Runner) -> str:
    """The runner and its compiler, for reports."""
    return f"{runner.name} ({runner.reason}), {runner.compiler.version}"


def draw(case: Case, graph: Graph) -> list[DataSet]:
    """The data sets a case names. Raises UsageError for an unknown regime."""
    return [regimes.draw(graph, seed.regime, seed.seed) for seed in case.data]
