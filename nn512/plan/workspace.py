"""Working memory of a layer: part of the engine's, alive while the layer runs."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.nodes import Shape
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class Scratch:
    """A tensor that only one layer knows."""

    name: str
    shape: Shape
    layout: Layout


@dataclass(frozen=True, slots=True)
class Workspace:
    """What a layer needs: tensors that its threads share, and vectors of 16 floats that every thread has for itself."""

    shared: tuple[Scratch, ...] = ()
    thread_vectors: int = 0


NO_WORKSPACE = Workspace()
