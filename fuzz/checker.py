"""One check of the compiler: emit, build, run in the sandbox, compare with the reference; what is wrong is a Problem.

`check_case` does a case of the campaign. `check_sources`, a part of it, judges any C with the API, whoever emitted it.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import reference
from fuzz.case import Case, DataSeed
from fuzz.compare import Outcome, Verdict, judge
from fuzz.coverage import LayerPlan, behind, layers_of
from fuzz.draw import regimes
from fuzz.draw.regimes import EXACT_REGIMES, DataSet
from fuzz.limits import Limit, limit_of
from fuzz.run.build import BuildError, build_net
from fuzz.run.checks import LIGHT, Checks
from fuzz.run.outcome import Status
from fuzz.run.runners import Runner, runner_for
from fuzz.run.sandbox import execute
from nn512.compiler import compile as compile_graph
from nn512.errors import UsageError
from nn512.graph import Conv, FullyConnected, Graph, parse
from nn512.options import Options
from nn512.toolchain import machine_faults

SOURCE_LIMIT = 1 << 30
"""Bytes of the largest source that is read."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong. `kind` is "emit", "build", "values" or a word of the sandbox; `data` is where it showed."""

    kind: str
    detail: str
    data: DataSeed | None = None

    def __str__(self) -> str:
        where = "" if self.data is None else f" on {self.data}"
        return f"{self.kind}{where}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Sources:
    """C with the API: file contents, and the plan where our compiler wrote it."""

    prefix: str
    header: str
    source: str
    plan: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path, prefix: str) -> Sources:
        """`<Prefix>.h` and `<Prefix>.c` in a folder. Raises UsageError where they are missing, no text, or too long."""
        header, source = (_read_text(folder / f"{prefix}{suffix}") for suffix in (".h", ".c"))
        return cls(prefix, header, source)

    def write(self, folder: Path) -> None:
        """Write `<Prefix>.h` and `<Prefix>.c`."""
        (folder / f"{self.prefix}.h").write_text(self.header, encoding="utf-8")
        (folder / f"{self.prefix}.c").write_text(self.source, encoding="utf-8")


@dataclass(frozen=True)
class Report:
    """What one check showed: problems, verdicts per data set, and what it is based on.

    `profile` names the algorithm of C that came without a plan. `culprit` is the data set behind the first problem that
    has one, with what the reference expects there.
    """

    case: Case
    graph: Graph
    runner: str
    sources: Sources | None = None
    problems: tuple[Problem, ...] = ()
    verdicts: Mapping[DataSeed, tuple[Verdict, ...]] = field(default_factory=dict)
    executed: bool = False
    profile: str = ""
    culprit: tuple[DataSet, Mapping[str, reference.Result]] | None = None

    @cached_property
    def layers(self) -> tuple[LayerPlan, ...]:
        """The layers of the plan."""
        return layers_of(None if self.sources is None else self.sources.plan)

    @cached_property
    def confirmed(self) -> frozenset[str]:
        """Outputs that some data set confirmed and none contradicted."""
        verdicts = [verdict for data in self.verdicts.values() for verdict in data]
        right = {v.output for v in verdicts if v.outcome in (Outcome.EXACT, Outcome.WITHIN)}
        return frozenset(right - {v.output for v in verdicts if not v.ok})

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong and every output was confirmed by at least one data set."""
        return not self.problems and self.confirmed == {output.from_tensor for output in self.graph.outputs}


@machine_faults("this case cannot be checked")
def check_case(
    case: Case, data: Sequence[DataSet] = (), runner: Runner | None = None, checks: Checks | None = None
) -> Report:
    """Check a case, on the data sets its seeds give or on `data`.

    Raises GraphError or UsageError for a broken case and CannotRunError where nothing can be built or run here; what
    else goes wrong is a problem of the report.
    """
    graph = parse(case.graph, "net.graph")
    options = Options.from_dict(dict(case.options))
    runner = runner or runner_for(case.compiler)
    try:
        emitted = compile_graph(graph, options)
        sources = Sources(emitted.prefix, emitted.header, emitted.source, emitted.plan)
    except Exception as error:  # noqa: BLE001 - whatever the compiler raises for a legal graph is a finding
        report = Report(case, graph, describe(runner), culprit=_given(data))
        return replace(report, problems=(Problem("emit", explain(error)),))
    return check_sources(case, graph, sources, data or draw(case, graph), runner, checks=checks)


@machine_faults("this case cannot be checked")
def check_sources(
    case: Case,
    graph: Graph,
    sources: Sources,
    data: Sequence[DataSet],
    runner: Runner,
    *,
    profile: str = "",
    checks: Checks | None = None,
    strict: bool = True,
) -> Report:
    """Build `sources`, run them on `data`, compare. The algorithms are those of the plan, or `profile` without one."""
    report = Report(case, graph, describe(runner), sources, profile=profile)
    try:
        executable = build_net(graph, sources.header, sources.source, runner, flags=(case.optimisation,), strict=strict)
    except BuildError as error:
        first = next((line for line in error.text.splitlines() if "error:" in line), error.summary)
        return replace(report, problems=(Problem("build", f"{first}\n{error}"),), culprit=_given(data))
    limits, rounding = limits_of(report, profile), rounding_of(report)
    problems: list[Problem] = []
    verdicts: dict[DataSeed, tuple[Verdict, ...]] = {}
    culprit = None
    executed = True
    for number, data_set in enumerate(data):
        seed = DataSeed(data_set.regime, data_set.seed)
        run = execute(executable, data_set.params, [data_set.inputs], checks if number == 0 else LIGHT)
        executed &= run.status in (Status.OK, Status.VIOLATION) and bool(run.outputs)
        before = len(problems)
        problems.extend(Problem(str(violation.kind), violation.detail, seed) for violation in run.violations)
        expected = reference.run(graph, data_set.params, data_set.inputs, rounding=rounding)
        outputs = run.outputs[0] if run.outputs else {}
        verdicts[seed] = _judge(graph, data_set, outputs, expected, limits, rounding)
        problems.extend(Problem("values", str(verdict), seed) for verdict in verdicts[seed] if not verdict.ok)
        if culprit is None and len(problems) > before:
            culprit = data_set, expected
    return replace(report, problems=tuple(problems), verdicts=verdicts, executed=executed, culprit=culprit)


def _given(data: Sequence[DataSet]) -> tuple[DataSet, Mapping[str, reference.Result]] | None:
    """The data set that a finding must keep although it was not run: a user gave it, no seed can draw it again."""
    return next(((data_set, {}) for data_set in data if data_set.regime == regimes.GIVEN), None)


def describe(runner: Runner) -> str:
    """The runner and its compiler, for reports."""
    return f"{runner.name} ({runner.reason}), {runner.compiler.version}"


def limits_of(report: Report, profile: str) -> dict[str, Limit]:
    """The error limit of every output, by the algorithms of all layers between it and the inputs."""
    limits = {}
    for output in report.graph.outputs:
        algorithms = {layer.algorithm for layer in behind(report.graph, report.layers, {output.from_tensor})}
        limits[output.from_tensor] = limit_of(algorithms if report.layers else {profile or "direct"})
    return limits


def rounding_of(report: Report) -> dict[str, reference.Rounding]:
    """How convolutions and fully connected layers are evaluated that are not float32 throughout, by the plan."""
    halves = {tensor for layer in report.layers if layer.weights == "fp16" for tensor in layer.covers}
    sums = (layer.to_tensor for layer in report.graph.layers if isinstance(layer, Conv | FullyConnected))
    return {tensor: reference.HALF_WEIGHTS for tensor in sums if tensor in halves}


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
) -> tuple[Verdict, ...]:
    """Verdicts on the outputs there are (a run that crashed has none)."""
    steps = min(limit.exact_steps for limit in limits.values())
    exact = {name: np.zeros(result.value.shape, np.bool_) for name, result in expected.items()}
    if data.regime in EXACT_REGIMES and steps > 0:
        exact = reference.exactness(graph, data.params, data.inputs, limit=steps, rounding=rounding)
    return tuple(
        judge(name, outputs[name], result.value, result.variance, result.unspecified, exact[name], limits[name])
        for name, result in expected.items()
        if name in outputs
    )


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SOURCE_LIMIT + 1)
        if len(raw) > SOURCE_LIMIT:
            raise UsageError(f"{path}: more than {SOURCE_LIMIT >> 20} MiB")
        return raw.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text in UTF-8: {error}") from error


def explain(error: Exception) -> str:
    """An unexpected exception as a few lines: what, and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    head = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {error}"
    return "\n".join([head, *traceback.format_exception(error, limit=-3)]).strip()
