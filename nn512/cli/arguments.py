"""What subcommands share: the type of argparse's subparsers, and the argument GRAPH."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from nn512.errors import UsageError
from nn512.graph import Graph, load, load_stream

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
"""What a subcommand's `add_parser` gets; argparse has no public name for it."""


def add_graph_argument(parser: argparse.ArgumentParser) -> None:
    """The positional argument GRAPH."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file; - reads standard input")


def add_pass_option(parser: argparse.ArgumentParser) -> None:
    """The option --no-pass NAME, which may come again."""
    parser.add_argument(
        "--no-pass", metavar="NAME", action="append", default=[], help="leave out an optimizing pass; repeatable"
    )


def read_graph(path: str) -> Graph:
    """The graph in a file, or on standard input if `path` is `-`. Raises GraphError and UsageError."""
    if path == "-":
        return load_stream(sys.stdin.buffer, "<stdin>")
    return load(path)


def input_files(given: Sequence[str], graph: Graph) -> dict[str, Path]:
    """What `--input NAME=X.npy` said, by the name of an input. Raises UsageError."""
    names = {node.to_tensor for node in graph.inputs}
    files: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--input takes NAME=X.npy, not {text!r}")
        if name in files:
            raise UsageError(f"input {name!r} is given twice")
        if name not in names:
            raise UsageError(f"there is no input {name!r}; this graph has {', '.join(sorted(names))}")
        files[name] = Path(path)
    return files
