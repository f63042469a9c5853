"""Our compiler as a target."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.problem import Problem, failure_text
from fuzz.targets.base import Sources
from nn512.compiler import compile as compile_graph
from nn512.graph import Graph
from nn512.options import Options


@dataclass(frozen=True, slots=True)
class Ours:
    """What `nn512 compile` does. For a legal graph it has no reason to raise anything."""

    name: str = "nn512"
    strict: bool = True
    skips: frozenset[str] = frozenset()

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        """The emitted C, with its plan."""
        try:
            emitted = compile_graph(graph, options)
        except Exception as error:  # noqa: BLE001 - whatever the compiler raises for a legal graph is a finding
            return Problem("emit", failure_text(error))
        return Sources(emitted.prefix, emitted.header, emitted.source, emitted.plan)


OURS = Ours()
