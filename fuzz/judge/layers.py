"""What the tester takes from a plan, and nothing else of the tester looks into one: its layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fuzz.judge.limits import algorithm_of
from nn512.graph import Graph, tensors_read


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


def layers_of(plan: Mapping[str, Any] | None) -> tuple[LayerPlan, ...]:
    """The layers of a plan; none where there is no plan (C that is not ours)."""
    if plan is None:
        return ()
    return tuple(
        LayerPlan(
            layer["name"],
            layer["kernel"],
            tuple(layer["reads"]),
            tuple(layer["writes"]),
            tuple(layer["covers"]),
            tuple(layer.get("edge_classes", ())),
            layer.get("weights", "fp32"),
        )
        for layer in plan["layers"]
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
