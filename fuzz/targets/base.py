"""The protocol between the tester and what it tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fuzz.problem import Problem
from nn512.graph import Graph
from nn512.options import Options
from nn512.plan.plan import Plan
from nn512.plan.serial import plan_json


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


class Target(Protocol):
    """Something that turns graphs into C."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def strict(self) -> bool:
        """Whether warnings of the C compiler are faults."""

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        """C for a legal graph, whose prefix it must have; or what is wrong, if it fails where it should not.

        `options` are those of our compiler; others may ignore them. Raises UsageError or CannotRunError for what is
        the user's fault or this machine's.
        """
