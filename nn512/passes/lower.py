"""Graph to program: one operation per node, nothing fused."""

from __future__ import annotations

from nn512.graph.graph import Graph
from nn512.ir import LoadOp, Program, StoreOp, operation_of


def lower(graph: Graph) -> Program:
    """The program that evaluates the graph node by node."""
    loads = (LoadOp(node, node.to_tensor) for node in graph.inputs)
    layers = (operation_of(layer) for layer in graph.layers)
    stores = (StoreOp(node, node.from_tensor) for node in graph.outputs)
    return Program(graph, (*loads, *layers, *stores), graph.shapes)
