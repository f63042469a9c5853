"""Which kernels and edge classes a case reached, by the plan the compiler wrote.

Every kernel declares its edge classes (a remainder of pixels, a tail of channels, padding at the top ...), and the plan
lists those a layer emits. Here they are counted three times: emitted (the plan lists it), executed (the C ran to its
end on some data) and verified (an output that depends on the layer was compared and found right). Decisions of
passes, about layouts and of kernels are counted in the same way, once for a case: it is verified where all of its
outputs are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fuzz.judge.layers import LAYOUTS, behind, decisions_of, points_of
from nn512.graph import Graph
from nn512.ir.decision import Decision
from nn512.kernels.registry import kernel_named, kernel_names, stated_decisions
from nn512.kernels.storing import Storing
from nn512.passes.pipeline import PASSES
from nn512.plan.laying import Laying
from nn512.plan.plan import Plan, PlannedLayer

Point: TypeAlias = tuple[str, str]
"""A kernel and one of its edge classes, or what decides and one of its decisions; an empty one is the kernel or that.

A pass decides, or a kernel or family of kernels; decisions about layouts stand as those of a pass of that name."""


@dataclass(slots=True)
class Coverage:
    """Counts of points: of kernels and edge classes one layer of one case counts once, of passes one case."""

    emitted: Counter[Point] = field(default_factory=Counter)
    executed: Counter[Point] = field(default_factory=Counter)
    verified: Counter[Point] = field(default_factory=Counter)

    def add_case(
        self, graph: Graph, layers: Sequence[PlannedLayer], *, executed: bool, verified: Collection[str]
    ) -> None:
        """Count one case; `verified` are the outputs found right."""
        for layer in layers:
            self.emitted.update(points_of(layer))
            if executed:
                self.executed.update(points_of(layer))
        for layer in behind(graph, layers, verified):
            self.verified.update(points_of(layer))

    def add_plan(self, plan: Plan | None, *, executed: bool, verified: bool) -> None:
        """Count what was decided in one case."""
        points = list(decisions_of(plan))
        for counts, counted in ((self.emitted, True), (self.executed, executed), (self.verified, verified)):
            counts.update(points if counted else ())

    def update(self, other: Coverage) -> None:
        """Add the counts of another coverage."""
        self.emitted.update(other.emitted)
        self.executed.update(other.executed)
        self.verified.update(other.verified)

    def kernels(self) -> dict[str, int]:
        """Number of layers verified by kernel; kernels emitted only have 0."""
        return {kernel: self.verified[kernel, ""] for kernel, edge in sorted(self.emitted) if not edge}

    def share(self, kernel: str) -> str:
        """How many of the classes that a kernel declares were verified: "7 of 9"."""
        declared = kernel_named(kernel).edge_classes
        return f"{sum(self.verified[kernel, edge] > 0 for edge in declared)} of {len(declared)}"

    def undeclared(self) -> set[Point]:
        """Classes emitted by kernels of ours that do not declare them."""
        known = kernel_names()
        points = (point for point in self.emitted if point[1] and point[0] in known)
        return {(kernel, edge) for kernel, edge in points if edge not in kernel_named(kernel).edge_classes}

    def edge_classes(self, counts: Counter[Point]) -> list[Point]:
        """The distinct edge classes or decisions in `counts`, sorted."""
        return sorted(point for point in counts if point[1])


def declared_decisions() -> list[Point]:
    """All decisions: of passes, in the order in which they run, about layouts, and of kernels."""
    passes: dict[str, Iterable[Decision]] = {name: one.decisions for name, one in PASSES.items()}
    every = {**passes, LAYOUTS: (*Laying, *Storing), **stated_decisions()}
    return [(name, str(decision)) for name, made in every.items() for decision in made]


def by_family(points: Iterable[Point]) -> Iterator[str]:
    """Lines for people: kernel, family of edge classes and its values, such as `direct, output tail 3 5 7`."""
    by_kernel: dict[str, set[str]] = {}
    for kernel, edge in points:
        by_kernel.setdefault(kernel, set()).add(edge)
    for kernel, edges in sorted(by_kernel.items()):
        families = kernel_named(kernel).edges if kernel in kernel_names() else ()
        for family in families:
            if found := edges.intersection(family.classes):
                values = [value for value in family.values if family(value) in found]
                between = " " if all(isinstance(value, int) for value in values) else ", "
                yield f"{kernel}, {family.name} {between.join(map(str, values))}".rstrip()
        known = {edge for family in families for edge in family.classes}
        yield from (f"{kernel}, {edge}" for edge in sorted(edges - known))
