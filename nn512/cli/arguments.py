"""What subcommands share: the type of argparse's subparsers, and the argument GRAPH."""

from __future__ import annotations

import argparse
import sys
from typing import TypeAlias

from nn512.graph import Graph, load, load_stream

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
"""What a subcommand's `add_parser` gets; argparse has no public name for it."""


def add_graph_argument(parser: argparse.ArgumentParser) -> None:
    """The positional argument GRAPH."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file; - reads standard input")


def read_graph(path: str) -> Graph:
    """The graph in a file, or on standard input if `path` is `-`. Raises GraphError and UsageError."""
    if path == "-":
        return load_stream(sys.stdin.buffer, "<stdin>")
    return load(path)
