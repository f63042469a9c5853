"""Batch norms that may become part of the layer whose result they read."""

from __future__ import annotations

from dataclasses import dataclass

from reference.windows import Array


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm, or several in a row, as y = factor x + shift, per channel."""

    factor: Array
    shift: Array

    def then(self, other: Norm) -> Norm:
        """This one and another behind it."""
        return Norm(self.factor * other.factor, self.shift * other.factor + other.shift)
