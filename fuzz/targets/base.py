"""The protocol between the tester and what it tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fuzz.problem import Problem
from nn512.graph import Graph
from nn512.options import Options
from nn512.plan.plan import Plan
from nn512.plan.serial import plan_json

Arrays: TypeAlias = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Sources:
    """C with the API (see the README): texts of `<prefix>.h` and `<prefix>.c`.

    What errors it may make follows from the algorithms in `plan`, which our compiler writes, or from those that
    `profile` names (an entry of `fuzz.judge.profiles`). `is_given`: it was there before, and no compiler of ours makes
    it anew from the graph.
    """

    prefix: str
    header: str
    source: str
    plan: Plan | None = None
    profile: str = ""
    is_given: bool = False

    def write(self, folder: Path) -> None:
        """Write `<prefix>.h`, `<prefix>.c`, and `<prefix>.plan.json` where there is a plan."""
        (folder / f"{self.prefix}.h").write_text(self.header, encoding="utf-8")
        (folder / f"{self.prefix}.c").write_text(self.source, encoding="utf-8")
        if self.plan is not None:
            (folder / f"{self.prefix}.plan.json").write_text(plan_json(self.plan), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Refused:
    """What a target says which does not take a graph: no fault, but nothing to judge either."""

    why: str


class Answers(Protocol):
    """A system that is no C with the API, ready to answer for one graph."""

    @property
    def profile(self) -> str:
        """By which algorithms it computes: an entry of `fuzz.judge.profiles`."""

    def outputs(self, params: Arrays, inputs: Arrays) -> Arrays | Refused | Problem:
        """Its outputs, float32 of channels x height x width by tensor; or how it crashed, hung or failed."""


class Target(Protocol):
    """Something that turns graphs into C, or into answers."""

    @property
    def name(self) -> str:
        """What reports call it, and what `fuzz.targets.registry.target_of` knows it by."""

    @property
    def strict(self) -> bool:
        """Whether warnings of the C compiler are faults."""

    @property
    def skips(self) -> frozenset[str]:
        """Regimes of data on which it makes no promise."""

    def prepare(self, graph: Graph, options: Options) -> Sources | Answers | Refused | Problem:
        """C for a legal graph, whose prefix it must have, or answers; or what is wrong if it fails where it should not.

        `options` are those of our compiler; others may ignore them. Raises UsageError or CannotRunError for what is
        the user's fault or this machine's.
        """
