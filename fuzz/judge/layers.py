"""What the tester takes from a plan, and nothing else of the tester looks into one: layers, and what was decided."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fuzz.judge.pattern import Grid
from nn512.graph import Conv, Graph, tensors_read
from nn512.kernels.registry import family_of
from nn512.plan.plan import Plan, PlannedLayer

LAYOUTS = "layouts"
"""Stands where the name of a pass would, for what is decided about layouts."""


def layers_of(plan: Plan | None) -> tuple[PlannedLayer, ...]:
    """The layers of a plan; none where there is no plan (C that is not ours)."""
    return () if plan is None else plan.layers


def points_of(layer: PlannedLayer) -> Iterator[tuple[str, str]]:
    """Kernel and edge class pairs of a layer; the kernel itself is the pair with an empty class."""
    yield layer.kernel, ""
    for edge_class in layer.edge_classes:
        yield layer.kernel, edge_class


def decisions_of(plan: Plan | None) -> Iterator[tuple[str, str]]:
    """Pairs of who decided and what: passes, layouts, kernels; what decides is the pair with an empty decision.

    Kernels that differ in numbers alone are one: each pair comes once.
    """
    if plan is None:
        return
    made: dict[str, dict[str, None]] = {done.name: dict.fromkeys(done.decisions) for done in plan.passes}
    made[LAYOUTS] = dict.fromkeys(plan.layouts)
    for layer in plan.layers:
        made.setdefault(family_of(layer.kernel), {}).update(dict.fromkeys(layer.decisions))
        for verdict, kernels in layer.verdicts.items():
            for kernel in kernels:
                made.setdefault(family_of(kernel), {})[verdict] = None
    for name, decisions in made.items():
        yield name, ""
        for decision in decisions:
            yield name, decision


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


def behind(graph: Graph, layers: Sequence[PlannedLayer], outputs: Collection[str]) -> tuple[PlannedLayer, ...]:
    """The layers that any of these outputs depends on, those that hand them to the caller included.

    By the tensors of the graph that a layer stands for; layers that stand for none (copies, padding) by their operands.
    """
    found: list[PlannedLayer] = []
    above = upstream(graph, outputs)
    needed: set[str] = set()
    for layer in reversed(layers):
        stands_for_none = not layer.covers and not above.isdisjoint(layer.reads)
        if stands_for_none or not above.isdisjoint(layer.covers) or not needed.isdisjoint(layer.writes):
            found.append(layer)
            needed.update(layer.reads)
    return tuple(reversed(found))


def grid_of(graph: Graph, layers: Sequence[PlannedLayer], tensor: str) -> Grid:
    """How a tensor is divided by the layer that computes it, as far as the graph and the plan say."""
    conv = next((node for node in graph.layers if node.to_tensor == tensor and isinstance(node, Conv)), None)
    tiles = next((layer.tiles for layer in layers if tensor in layer.covers and layer.tiles is not None), None)
    return Grid(
        groups=1 if conv is None else conv.groups,
        tile=(1, 1) if tiles is None else (tiles.rows.outputs, tiles.columns.outputs),
    )
