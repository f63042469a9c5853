"""What a family of nets says of each of its nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nn512.graph.examples.builder import Builder


@dataclass(frozen=True, slots=True)
class Example:
    """A net: lines that say where it comes from and which of its variants it is, and what writes it."""

    comment: tuple[str, ...]
    write: Callable[[Builder], object]

    def text(self, name: str) -> str:
        """The graph, below its comment."""
        builder = Builder(name, (f"{name}: {self.comment[0]}", *self.comment[1:]))
        self.write(builder)
        return builder.text()
