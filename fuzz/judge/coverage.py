"""Which kernels and edge classes a case reached, by the plan the compiler wrote.

Every kernel declares its edge classes (a remainder of pixels, a tail of channels, padding at the top ...), and the plan
lists those a layer emits. Here they are counted three times: emitted (the plan lists it), executed (the C ran to its
end on some data) and verified (an output that depends on the layer was compared and found right).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fuzz.judge.layers import behind, points_of
from nn512.graph import Graph
from nn512.plan.plan import PlannedLayer


@dataclass(slots=True)
class Coverage:
    """Counts of (kernel, edge class) pairs; one layer of one case counts once."""

    emitted: Counter[tuple[str, str]] = field(default_factory=Counter)
    executed: Counter[tuple[str, str]] = field(default_factory=Counter)
    verified: Counter[tuple[str, str]] = field(default_factory=Counter)

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

    def update(self, other: Coverage) -> None:
        """Add the counts of another coverage."""
        self.emitted.update(other.emitted)
        self.executed.update(other.executed)
        self.verified.update(other.verified)

    def kernels(self) -> dict[str, int]:
        """Number of layers verified by kernel; kernels emitted only have 0."""
        return {kernel: self.verified[kernel, ""] for kernel, edge in sorted(self.emitted) if not edge}

    def edge_classes(self, counts: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
        """The distinct edge classes in `counts`, sorted."""
        return sorted(point for point in counts if point[1])
