"""The node Output: a tensor handed to the caller."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.fields import read_tensor
from nn512.graph.node import Node


@dataclass(frozen=True, slots=True)
class Output(Node):
    """A tensor handed to the caller: float32, channels by height by width, fully packed, in the caller's memory."""

    from_tensor: str = read_tensor()

    def describe(self) -> str:
        """The kind and the tensor that is read."""
        return f"Output {self.from_tensor}"
