"""Nodes to graph text: one node per line, every field, in documented order."""

from __future__ import annotations

from collections.abc import Iterable

from nn512.graph.graph import Graph
from nn512.graph.nodes import Node, field_infos
from nn512.graph.values import format_value


def format_node(node: Node) -> str:
    """One line of text, without the line break, that reads as `node`."""
    fields = (f"{i.name}={format_value(i, getattr(node, i.attribute))}" for i in field_infos(type(node)))
    return " ".join((type(node).__name__, *fields))


def format_graph(graph: Graph | Iterable[Node]) -> str:
    """Text of a graph: Config, inputs, layers in topological order and outputs; or of nodes, in the order given."""
    nodes = (graph.config, *graph.inputs, *graph.layers, *graph.outputs) if isinstance(graph, Graph) else graph
    return "".join(format_node(node) + "\n" for node in nodes)
