"""One check of one case: prepare, build, run in the sandbox, compare with the reference; what is wrong is a Problem.

`check_case` does all of it. `check_sources`, a part of it, judges any C with the API, whoever emitted it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import reference
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.draw.regimes import ALIKE_REGIMES, EXACT_REGIMES, DataSet
from fuzz.judge.algorithms import rounding_of
from fuzz.judge.compare import Verdict, judge
from fuzz.judge.folding import Folded
from fuzz.judge.layers import behind, grid_of
from fuzz.judge.limits import Limit, limit_of
from fuzz.judge.pattern import Grid
from fuzz.judge.profiles import profile_of
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.build import BuildError, build_net
from fuzz.run.checks import LIGHT, Checks
from fuzz.run.outcome import Status
from fuzz.run.runners import Runner, runner_for
from fuzz.run.sandbox import execute
from fuzz.targets import OURS, Sources, Target
from nn512.graph import Graph, parse
from nn512.options import Options
from nn512.toolchain import machine_faults


@machine_faults("this case cannot be checked")
def check_case(
    case: Case,
    data: Sequence[DataSet] = (),
    runner: Runner | None = None,
    checks: Checks | None = None,
    target: Target = OURS,
) -> Report:
    """Check what `target` makes of a case, on the data sets its seeds give or on `data`.

    Raises GraphError or UsageError for a broken case and CannotRunError where nothing can be built or run here; what
    else goes wrong is a problem of the report.
    """
    graph = parse(case.graph, "net.graph")
    options = Options.from_dict(dict(case.options))
    runner = runner or runner_for(case.compiler)
    prepared = target.prepare(graph, options)
    if isinstance(prepared, Problem):
        return Report(case, graph, runner_line(runner), problems=(prepared,), culprit=_given(data))
    return check_sources(case, graph, prepared, data or draw(case, graph), runner, checks=checks, strict=target.strict)


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
) -> Report:
    """Build `sources`, run them on `data`, compare; `strict` makes warnings of the C compiler errors."""
    report = Report(case, graph, runner_line(runner), sources)
    try:
        executable = build_net(graph, sources.header, sources.source, runner, flags=(case.optimisation,), strict=strict)
    except BuildError as error:
        first = next((line for line in error.text.splitlines() if "error:" in line), error.summary)
        return replace(report, problems=(Problem("build", f"{first}\n{error}"),), culprit=_given(data))
    limits, rounding = limits_of(report), how_evaluated(report)
    grids = {node.from_tensor: grid_of(graph, report.layers, node.from_tensor) for node in graph.outputs}
    folded = Folded(grids.__getitem__)
    verdicts: dict[DataSeed, tuple[Verdict, ...]] = {}
    culprit = None
    executed = True
    for number, data_set in enumerate(data):
        seed = DataSeed(data_set.regime, data_set.seed)
        run = execute(executable, data_set.params, [data_set.inputs], checks if number == 0 else LIGHT)
        executed &= run.status in (Status.OK, Status.VIOLATION) and bool(run.outputs)
        folded.add_violations(run.violations, seed)
        expected = reference.run(graph, data_set.params, data_set.inputs, rounding=rounding)
        outputs = run.outputs[0] if run.outputs else {}
        verdicts[seed] = _judge(graph, data_set, outputs, expected, limits, rounding, grids)
        folded.add_verdicts(verdicts[seed], seed)
        if culprit is None and folded.problems:
            culprit = data_set, expected
    return replace(report, problems=folded.problems, verdicts=verdicts, executed=executed, culprit=culprit)


def _given(data: Sequence[DataSet]) -> tuple[DataSet, Mapping[str, reference.Result]] | None:
    """The data set that a finding must keep although it was not run: a user gave it, no seed can draw it again."""
    return next(((data_set, {}) for data_set in data if data_set.regime == regimes.GIVEN), None)


def runner_line(runner: Runner) -> str:
    """The runner and its compiler, for reports."""
    return f"{runner.name} ({runner.reason}), {runner.compiler.version}"


def limits_of(report: Report) -> dict[str, Limit]:
    """The error limit of every output, by the algorithms of all layers between it and the inputs."""
    limits = {}
    for output in report.graph.outputs:
        algorithms = {layer.arithmetic for layer in behind(report.graph, report.layers, {output.from_tensor})}
        limits[output.from_tensor] = limit_of(algorithms)
    return limits


def how_evaluated(report: Report) -> dict[str, reference.Rounding]:
    """How long sums are evaluated: by the plan, or as the profile says where there is none."""
    if report.layers or not report.profile:
        return rounding_of(report.graph, report.layers)
    return profile_of(report.profile).rounding(report.graph)


def draw(case: Case, graph: Graph) -> list[DataSet]:
    """The data sets a case names. Raises UsageError for an unknown regime."""
    return [regimes.draw(graph, seed.regime, seed.seed) for seed in case.data]


def _judge(
    graph: Graph,
    data: DataSet,
    outputs: Mapping[str, NDArray[np.float32]],
    expected: Mapping[str, reference.Result],
    limits: Mapping[str, Limit],
    rounding: Mapping[str, reference.Rounding],
    grids: Mapping[str, Grid],
) -> tuple[Verdict, ...]:
    """Verdicts on the outputs there are (a run that crashed has none)."""
    steps = min(limit.exact_steps for limit in limits.values())
    exact = {name: np.zeros(result.value.shape, np.bool_) for name, result in expected.items()}
    if data.regime in EXACT_REGIMES and steps > 0:
        exact = reference.exactness(graph, data.params, data.inputs, limit=steps, rounding=rounding)
    applied = dict(limits)
    if data.regime in ALIKE_REGIMES:  # one error in many elements is no rms: each may be as large as the largest
        applied = {name: replace(limit, rms=limit.maximum) for name, limit in limits.items()}
    return tuple(
        judge(
            *(name, outputs[name], result.value, result.variance, result.unspecified),
            *(exact[name], applied[name], grids[name]),
        )
        for name, result in expected.items()
        if name in outputs
    )
