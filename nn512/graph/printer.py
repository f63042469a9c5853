"""Nodes to graph text: one node per line, its fields in documented order."""

from __future__ import annotations

from collections.abc import Iterable

from nn512.graph.fields import FieldInfo, field_table
from nn512.graph.graph import Graph
from nn512.graph.node import Node
from nn512.graph.values import format_value


def format_node(node: Node) -> str:
    """One line of text, without the line break, that reads as `node`."""
    infos = (info for info in field_table(type(node)).infos if _is_printed(node, info))
    fields = (f"{info.name}={format_value(info, getattr(node, info.attribute))}" for info in infos)
    return " ".join((type(node).__name__, *fields))


def _is_printed(node: Node, info: FieldInfo) -> bool:
    """Whether a line needs the field: it is the node's, and says more than its absence would."""
    value = getattr(node, info.attribute)
    if not info.applies(node.choice) or value is None:
        return False
    if info.like is not None:
        return bool(value != getattr(node, info.like))
    return not (info.terse and value == info.default_with(node.choice))


def format_graph(graph: Graph | Iterable[Node]) -> str:
    """Text of a graph: Config, inputs, layers in topological order and outputs; or of nodes, in the order given."""
    nodes = (graph.config, *graph.inputs, *graph.layers, *graph.outputs) if isinstance(graph, Graph) else graph
    return "".join(format_node(node) + "\n" for node in nodes)
