"""The plan as plain data, for `<prefix>.plan.json` and `nn512 explain`: what became of the graph, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nn512.cgen.net import Layer
from nn512.graph.describe import describe
from nn512.graph.graph import Graph
from nn512.ir import Op, Program
from nn512.passes.effects import effects
from nn512.passes.roles import Role, occurrences, roles_of, vanished
from nn512.plan.planner import Plan


def plan_data(plan: Plan, layers: Sequence[Layer], programs: Sequence[tuple[str, Program]]) -> dict[str, Any]:
    """Layers, tensors and memory; what every pass did, and where nodes went that no layer covers.

    `programs` are those before the passes and after each of them.
    """
    return _layers_and_tensors(plan, layers) | _account(programs)


def graph_lines(op: Op, graph: Graph) -> list[int]:
    """Numbers of the graph's lines that an operation implements, in order."""
    numbers = (graph.line_of(node) for node in op.nodes)
    return sorted({number for number in numbers if number is not None})


def _layers_and_tensors(plan: Plan, layers: Sequence[Layer]) -> dict[str, Any]:
    graph = plan.program.graph
    counts = occurrences(plan.program)
    return {
        "prefix": graph.config.prefix,
        "layers": [
            {
                "name": layer.code.name,
                "kernel": layer.code.kernel,
                "algorithm": layer.code.algorithm,
                "reads": list(op.tensors_read),
                "writes": list(op.tensors_written),
                "covers": [getattr(n, "to_tensor", None) or n.from_tensor for n in op.nodes],  # type: ignore[union-attr]
                "lines": graph_lines(op, graph),
                "nodes": [_node_data(role, graph) for role in roles_of(op, counts)],
                "reason": op.reason,
                "pixels": layer.pixels,
                "mmac": round(layer.mmac, 6),
                "weight_bytes": layer.code.weight_bytes,
                "predicted_microseconds": round(layer.predicted, 3),
                "prices": {name: round(price, 3) for name, price in layer.code.prices},
                "forced": layer.code.forced,
                "weights": layer.code.weights,
                "steps": [{"name": part.name, "items": part.items} for part in layer.code.steps],
                "shared_by_threads": layer.split,
                "edge_classes": list(layer.code.edge_classes),
            }
            for op, layer in zip(plan.ops, layers, strict=True)
        ],
        "tensors": [
            {
                "name": t.name,
                "shape": list(t.shape),
                "segments": list(t.layout.segments),
                "lanes": t.layout.lanes,
                "offset_bytes": t.offset * 64,
                "bytes": t.vectors * 64,
                "first_layer": t.first_step + 1,
                "last_layer": t.last_step + 1,
            }
            for t in plan.tensors.values()
        ],
        "arena_bytes": plan.arena.size * 64,
        "arena_lower_bound_bytes": plan.arena.lower_bound * 64,
    }


def _account(programs: Sequence[tuple[str, Program]]) -> dict[str, Any]:
    """What the passes did, and where nodes went that no layer covers."""
    graph = programs[-1][1].graph
    return {
        "passes": [
            {"name": e.name, "operations_before": e.before, "operations_after": e.after, "did": e.text}
            for e in effects(programs)
        ],
        "dropped_nodes": [_node_data(role, graph) for role in vanished(programs)],
    }


def _node_data(role: Role, graph: Graph) -> dict[str, Any]:
    return {"node": describe(role.node), "line": graph.line_of(role.node), "why": role.why}
