"""The ways into a checked graph: from a text, a file, a stream of bytes, or nodes."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from nn512.errors import UsageError
from nn512.graph.check import check
from nn512.graph.diagnostics import Diagnostics, GraphError, HopelessTextError
from nn512.graph.graph import Graph
from nn512.graph.node import Node
from nn512.graph.parser import read_statements
from nn512.graph.printer import format_graph
from nn512.graph.source import Source

MOST_CHARACTERS = 16 << 20
"""Largest graph text, in characters, and largest graph file, in bytes."""


def parse(text: str, filename: str = "<graph>") -> Graph:
    """Read and check a graph; `filename` is what errors call it.

    Raises GraphError with every mistake found, UsageError for a text of more than 16 MiB.
    """
    if len(text) > MOST_CHARACTERS:
        raise _too_large(filename)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    diagnostics = Diagnostics(Source(text, filename))
    with _no_collections():
        try:
            graph = check(read_statements(diagnostics), diagnostics)
        except HopelessTextError:
            graph = None
    if graph is None:
        raise GraphError(diagnostics.diagnostics)
    return graph


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Python does not look for garbage meanwhile.

    Reading only adds to what is kept, and walking through all of that again and again took more than half of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(path: str | os.PathLike[str]) -> Graph:
    """Read and check a graph file. Raises what `parse` does, and UsageError for a file that cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return load_stream(stream, os.fspath(path))
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        message = f"cannot read {os.fspath(path)!r}: {getattr(error, 'strerror', None) or error}"
        raise UsageError(message) from error


def load_stream(stream: BinaryIO, filename: str) -> Graph:
    """Read and check a graph from a stream of bytes, of which no more than the limit is read."""
    data = stream.read(MOST_CHARACTERS + 1)
    if len(data) > MOST_CHARACTERS:
        raise _too_large(filename)
    # Bytes that are not UTF-8 are harmless in a comment; elsewhere the parser reports them with their place.
    return parse(data.decode("utf-8", errors="surrogateescape"), filename)


def build(nodes: Iterable[Node]) -> Graph:
    """Check a graph given as nodes. They are printed and read again, so every node of the result has a place in a text.

    Raises GraphError for mistakes, UsageError for nodes that do not survive printing (a name with a blank in it).
    """
    nodes = tuple(nodes)
    graph = parse(format_graph(nodes))
    read = {graph.config, *graph.inputs, *graph.layers, *graph.outputs}
    for node in nodes:
        if node not in read:
            message = f"this node has values that a graph text cannot express: {node}"
            raise UsageError(message)
    return graph


def _too_large(filename: str) -> UsageError:
    return UsageError(f"{filename}: larger than {MOST_CHARACTERS >> 20} MiB, which no graph needs")
