"""The node Input: a tensor that the caller supplies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nn512.graph.fields import ValueType, declare, written_tensor
from nn512.graph.node import Node, Shape

_ORDERS = {
    "CHW": "Plane by plane: channels x height x width.",
    "HWC": "Pixel by pixel, the channels of each together: height x width x channels.",
}


@dataclass(frozen=True, slots=True)
class Input(Node):
    """A tensor the caller supplies: float32, channels by height by width, fully packed, never written to.

    With Order=HWC the caller's array is height by width by channels, as decoders of images leave it: in C, in Python
    and in files. The tensor of the graph is the same; only this array is in another order. Outputs are always CHW.
    """

    to_tensor: str = written_tensor()
    channels: int = declare("Channels", ValueType.POSITIVE, "Number of channels.")
    height: int = declare("Height", ValueType.POSITIVE, "Number of rows.")
    width: int = declare("Width", ValueType.POSITIVE, "Number of columns.")
    order: str = declare(
        "Order", ValueType.CHOICE, "How the caller's numbers are ordered.", "CHW", choices=_ORDERS, terse=True
    )

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:  # noqa: ARG002 - reads nothing
        """What the fields say."""
        return Shape(self.channels, self.height, self.width)

    @property
    def interleaved(self) -> bool:
        """Whether the channels of a pixel stand together."""
        return self.order == "HWC"

    @property
    def array_shape(self) -> tuple[int, int, int]:
        """The shape of the caller's array."""
        channels, height, width = self.channels, self.height, self.width
        return (height, width, channels) if self.interleaved else (channels, height, width)
