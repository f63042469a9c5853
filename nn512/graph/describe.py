"""Graph nodes in words, for the comments of emitted layers."""

from __future__ import annotations

from nn512.graph.node import Node


def describe(node: Node) -> str:
    """`node.describe()`, as a function."""
    return node.describe()
