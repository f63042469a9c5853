"""Which kernels and edge classes a case reached, by the plan the compiler wrote.

Every kernel declares its edge classes (a remainder of pixels, a tail of channels, padding at the top ...), and the plan
lists those a layer emits. Here they are counted three times: emitted (the plan lists it), executed (the C ran to its
end on some data) and verified (an output that depends on the layer was compared and found right).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from fuzz.limits import algorithm_of
from nn512.graph import Graph, tensors_read
from nn512.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What the campaign needs of one layer of a plan. It may read and write tensors that the graph does not know."""

    name: str
    kernel: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    covers: tuple[str, ...]
    edge_classes: tuple[str, ...]
    weights: str = "fp32"

    @property
    def algorithm(self) -> str:
        """Name of the algorithm in the table of error limits."""
        return algorithm_of(self.kernel)

    @property
    def points(self) -> Iterator[tuple[str, str]]:
        """Kernel and edge class pairs; the kernel itself is the pair with an empty class."""
        yield self.kernel, ""
        for edge_class in self.edge_classes:
            yield self.kernel, edge_class


def layers_of(plan: Plan | None) -> tuple[LayerPlan, ...]:
    """The layers of a plan; none where there is no plan (C that is not ours)."""
    if plan is None:
        return ()
    return tuple(
        LayerPlan(layer.name, layer.kernel, layer.reads, layer.writes, layer.covers, layer.edge_classes, layer.weights)
        for layer in plan.layers
    )


def upstream(graph: Graph, outputs: Collection[str]) -> frozenset[str]:
    """These tensors and every tensor they are computed from."""
    producers = {layer.to_tensor: layer for layer in graph.layers}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(tensors_read(producers[name]) if name in producers else ())
    return frozenset(found)


def behind(graph: Graph, layers: Sequence[LayerPlan], outputs: Collection[str]) -> tuple[LayerPlan, ...]:
    """The layers that any of these outputs depends on, those that hand them to the caller included.

    By the tensors of the graph that a layer stands for; layers that stand for none (copies, padding) by their operands.
    """
    found: list[LayerPlan] = []
    above = upstream(graph, outputs)
    needed: set[str] = set()
    for layer in reversed(layers):
        stands_for_none = not layer.covers and not above.isdisjoint(layer.reads)
        if stands_for_none or not above.isdisjoint(layer.covers) or not needed.isdisjoint(layer.writes):
            found.append(layer)
            needed.update(layer.reads)
    return tuple(reversed(found))


@dataclass(slots=True)
class Coverage:
    """Counts of (kernel, edge class) pairs; one layer of one case counts once."""

    emitted: Counter[tuple[str, str]] = field(default_factory=Counter)
    executed: Counter[tuple[str, str]] = field(default_factory=Counter)
    verified: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add_case(self, graph: Graph, layers: Sequence[LayerPlan], *, executed: bool, verified: Collection[str]) -> None:
        """Count one case; `verified` are the outputs found right."""
        for layer in layers:
            self.emitted.update(layer.points)
            if executed:
                self.executed.update(layer.points)
        for layer in behind(graph, layers, verified):
            self.verified.update(layer.points)

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
