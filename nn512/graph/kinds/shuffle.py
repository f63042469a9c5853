"""The node Shuffle: channels in another order, those of groups in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.diagnostics import quote
from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape

MOST_CHANNELS = 1 << 16
"""Channels of a tensor that is shuffled, at most: their order is a table in emitted code."""


@dataclass(frozen=True, slots=True)
class Shuffle(Layer):
    """Channel shuffle: the first channel of every group, then the second one of every group, and so on.

    With C channels in g groups, channel `j * g + i` of the result is channel `i * C / g + j` of the tensor read.
    """

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    groups: int = declare(
        "Groups", ValueType.POSITIVE, "Groups of channels; their number divides that of the channels."
    )

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """Groups of different sizes, and too many channels."""
        channels = shapes[self.from_tensor].channels
        told = f"{quote(self.from_tensor)} has {channels} channels"
        if channels % self.groups:
            yield Mistake("Groups", f"{told}, which {self.groups} groups do not divide")
        elif channels > MOST_CHANNELS:
            yield Mistake("FromTensor", f"{told}; Shuffle takes {MOST_CHANNELS} at most")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read."""
        return shapes[self.from_tensor]

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of the tensor read."""
        return read[0]

    def describe(self) -> str:
        """The tensor, and how many groups there are."""
        return f"Shuffle {self.to_tensor} ({self.groups} groups)"
