"""What tensors of a net are held to on one data set: what the reference expects, and how far float32 may be from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import reference
from fuzz.case import DataSeed
from fuzz.draw.regimes import ALIKE_REGIMES, EXACT_REGIMES, DataSet
from fuzz.judge.algorithms import rounding_of
from fuzz.judge.compare import Verdict, judge
from fuzz.judge.layers import behind, grid_of
from fuzz.judge.limits import Limit, limit_of
from fuzz.judge.pattern import Grid
from fuzz.judge.profiles import profile_of
from fuzz.judge.report import Report
from fuzz.judge.steps import Steps

NEAR = 0.4
"""Share of a limit beyond which an error is judged by all that roundings have in common.

That makes variances larger (`reference.residues`, `.runs`, `.samples`); the least was 0.47 of those without, behind
tiles of almost nothing but errors (450 random graphs, 300 of them by tiles or in bfloat16). So what is below 0.4 of a
limit without is below it with them. Behind tiles of transformed inputs that are rounded to bfloat16 it was 0.13, as
errors that neighbours have in common cancel in the transform: these are judged by all of it at once.
"""


@dataclass(frozen=True, slots=True)
class Standard:
    """By tensor: what is expected, which elements must be equal, the limits of error, and how layers divide it."""

    expected: Mapping[str, reference.Result]
    exact: Mapping[str, NDArray[np.bool_]]
    limits: Mapping[str, Limit]
    grids: Mapping[str, Grid]

    def allowed(self, tensor: str) -> NDArray[np.float64]:
        """How far each element may be from what is expected: 0 where it must be equal, NaN where it may be anything."""
        result = self.expected[tensor]
        with np.errstate(all="ignore"):
            far = np.where(self.exact[tensor], 0.0, self.limits[tensor].maximum * np.sqrt(result.variance))
        return np.where(result.unspecified, np.nan, far)

    def judge(self, tensor: str, got: NDArray[np.float32]) -> Verdict:
        """The verdict on a tensor."""
        result = self.expected[tensor]
        return judge(
            *(tensor, got, result.value, result.variance, result.unspecified),
            *(self.exact[tensor], self.limits[tensor], self.grids[tensor]),
        )

    def far_below(self, verdicts: Iterable[Verdict]) -> bool:
        """Whether nothing is wrong, and nothing near the limits."""
        return all(
            verdict.ok
            and verdict.max_sigma <= NEAR * self.limits[verdict.output].maximum
            and verdict.rms_sigma <= NEAR * self.limits[verdict.output].rms
            for verdict in verdicts
        )


def judged(
    report: Report,
    data: DataSet,
    got: Mapping[str, NDArray[np.float32]],
    outputs: Sequence[str],
    steps: Steps,
    number: int,
    *,
    is_culprit: bool = False,
) -> tuple[Standard, tuple[Verdict, ...]]:
    """The verdicts on those of `outputs` that there are in `got`, and the standard for all of them.

    `data` is number `number` of what is checked by `steps`.

    First by the variance of roundings that are independent of each other, which takes a third of the time: what is far
    below the limits so (see NEAR) is within them with what roundings have in common, too, and only the figures differ.
    Everything else is judged by all of it, as are layers by which that may be less, and a culprit, whose standard is
    kept.
    """

    def by(*, independent: bool) -> tuple[Standard, tuple[Verdict, ...]]:
        tell = steps.evaluating(number, DataSeed(data.regime, data.seed))
        standard = standard_of(report, data, outputs, tell, independent=independent)
        steps.comparing()
        return standard, tuple(standard.judge(name, got[name]) for name in outputs if name in got)

    if not is_culprit and not any(_rounds_transformed(how) for how in how_evaluated(report).values()):
        standard, verdicts = by(independent=True)
        if standard.far_below(verdicts):
            return standard, verdicts
    return by(independent=False)


def _rounds_transformed(how: reference.Rounding) -> bool:
    return how.reads_bfloat16 and how.tiles is not None


def standard_of(
    report: Report,
    data: DataSet,
    tensors: Collection[str],
    tell: Callable[[int], None] = lambda number: None,  # noqa: ARG005 - the name says what is told
    *,
    independent: bool = False,
) -> Standard:
    """The standard for these tensors of the graph of a report, as its C computes them by its plan or its profile.

    `tell` hears the number of every layer before the reference evaluates it. `independent`: see `reference.run`.
    """
    graph, rounding = report.graph, how_evaluated(report)
    tensor_error = 0.0 if report.layers or not report.profile else profile_of(report.profile).tensor_error
    limits = {name: limit_for(report, name) for name in tensors}
    expected = reference.run(
        *(graph, data.params, data.inputs),
        keep=tensors,
        rounding=rounding,
        independent=independent,
        tensor_error=tensor_error,
        tell=tell,
    )
    exact = {name: np.zeros(result.value.shape, np.bool_) for name, result in expected.items()}
    steps = min((limit.exact_steps for limit in limits.values()), default=0.0)
    if data.regime in EXACT_REGIMES and steps > 0 and not tensor_error:
        exact = reference.exactness(graph, data.params, data.inputs, keep=tensors, limit=steps, rounding=rounding)
    if data.regime in ALIKE_REGIMES:  # one error in many elements is no rms: each may be as large as the largest
        limits = {name: replace(limit, rms=limit.maximum) for name, limit in limits.items()}
    return Standard(expected, exact, limits, {name: grid_of(graph, report.layers, name) for name in tensors})


def limit_for(report: Report, tensor: str) -> Limit:
    """The error limit of a tensor, by the algorithms of all layers between it and the inputs."""
    return limit_of({layer.arithmetic for layer in behind(report.graph, report.layers, {tensor})})


def how_evaluated(report: Report) -> dict[str, reference.Rounding]:
    """How long sums are evaluated: by the plan, or as the profile says where there is none."""
    if report.layers or not report.profile:
        return rounding_of(report.graph, report.layers)
    return profile_of(report.profile).rounding(report.graph)
