"""The node Input: a tensor that the caller supplies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nn512.graph.fields import ValueType, declare, written_tensor
from nn512.graph.node import Node, Shape


@dataclass(frozen=True, slots=True)
class Input(Node):
    """A tensor the caller supplies: float32, channels by height by width, fully packed, never written to."""

    to_tensor: str = written_tensor()
    channels: int = declare("Channels", ValueType.POSITIVE, "Number of channels.")
    height: int = declare("Height", ValueType.POSITIVE, "Number of rows.")
    width: int = declare("Width", ValueType.POSITIVE, "Number of columns.")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:  # noqa: ARG002 - reads nothing
        """What the fields say."""
        return Shape(self.channels, self.height, self.width)
