"""What one check of one case showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import reference
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import DataSet
from fuzz.judge.compare import Outcome, Verdict
from fuzz.judge.layers import grid_of, layers_of
from fuzz.judge.lines import Lines
from fuzz.judge.pattern import Pattern, pattern_of
from fuzz.judge.place import Place
from fuzz.problem import Problem
from fuzz.run.checks import TIMEOUT
from fuzz.run.runners import Runner
from fuzz.targets import Sources
from nn512.graph import Graph
from nn512.plan.plan import PlannedLayer


@dataclass(frozen=True, slots=True)
class Culprit:
    """The data set behind a problem, and by output what is expected, how far off it may be, and what the C computed."""

    data: DataSet
    expected: Mapping[str, reference.Result] = field(default_factory=dict)
    allowed: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    got: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Problems, verdicts per data set, and what they are based on. Made by the checker; findings keep it.

    `culprit` is the data set behind the first problem that has one, with what the reference expects there; `place` is
    the layer at fault, where somebody has looked for it (`fuzz.judge.localize`). `runner` is for people what `ran` is.
    `id` names a drawn case or one of the corpus, so that `nn512 repro` finds it again. `pattern` and `classes` are what
    all relatives of the case have in common that fail in the same way, where somebody has looked (`fuzz.campaign`).
    `target` is the name of what was checked, `declared` the profile of a system that is no C, `refused` what a target
    says that does not take the graph, `seconds` what each stage took (see `fuzz.judge.clock`). `c_lines` are those of
    its C, where somebody counted them. `timeout`: as its checks had it.
    """

    case: Case
    graph: Graph
    runner: str
    sources: Sources | None = None
    problems: tuple[Problem, ...] = ()
    verdicts: Mapping[DataSeed, tuple[Verdict, ...]] = field(default_factory=dict)
    executed: bool = False
    culprit: Culprit | None = None
    place: Place | None = None
    ran: Runner | None = None
    id: str = ""
    pattern: str = ""
    classes: tuple[str, ...] | None = None
    target: str = "nn512"
    declared: str = ""
    refused: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    c_lines: Lines | None = None
    timeout: float = TIMEOUT

    @property
    def profile(self) -> str:
        """What was declared of C that came without a plan, or of a system: an entry of `fuzz.judge.profiles`."""
        return self.declared if self.sources is None else self.sources.profile

    @cached_property
    def layers(self) -> tuple[PlannedLayer, ...]:
        """The layers of the plan."""
        return layers_of(None if self.sources is None else self.sources.plan)

    @cached_property
    def confirmed(self) -> frozenset[str]:
        """Outputs that some data set confirmed and none contradicted."""
        verdicts = [verdict for data in self.verdicts.values() for verdict in data]
        right = {v.output for v in verdicts if v.outcome in (Outcome.EXACT, Outcome.WITHIN)}
        return frozenset(right - {v.output for v in verdicts if not v.ok})

    def ever_wrong(self) -> Pattern | None:
        """What all elements of the first wrong output have in common that are wrong on some data set."""
        wrong = [v for verdicts in self.verdicts.values() for v in verdicts if v.elements is not None]
        masks = [v.elements for v in wrong if v.elements is not None and v.output == wrong[0].output]
        if not masks:
            return None
        union = np.logical_or.reduce(masks)
        return pattern_of(union, grid=grid_of(self.graph, self.layers, wrong[0].output))

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong and every output was confirmed by at least one data set."""
        return not self.problems and self.confirmed == {output.from_tensor for output in self.graph.outputs}
