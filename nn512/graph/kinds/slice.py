"""The node Slice: some of the channels, rows or columns of a tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.axes import axis_field, extent_of, with_extent
from nn512.graph.diagnostics import quote
from nn512.graph.fields import ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape


@dataclass(frozen=True, slots=True)
class Slice(Layer):
    """Count channels, rows or columns of a tensor: number From, counted from 0, and every Step-th one after it."""

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    first: int = declare("From", ValueType.NATURAL, "The first channel, row or column; the first of all is 0.")
    count: int = declare("Count", ValueType.POSITIVE, "How many there are in the result.")
    step: int = declare("Step", ValueType.POSITIVE, "From one to the next.", 1, terse=True)
    axis: str = axis_field("Whether they are channels, rows or columns.")

    @property
    def last(self) -> int:
        """The last channel, row or column that is taken."""
        return self.first + (self.count - 1) * self.step

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """An end beyond that of the tensor."""
        extent = extent_of(shapes[self.from_tensor], self.axis)
        if self.last >= extent:
            what = {"Channels": "channel", "Height": "row", "Width": "column"}[self.axis]
            last = f"the last {what} of {quote(self.from_tensor)} is {extent - 1}"
            message = f"Slice ends with {what} {self.last}, but {last}"
            yield Mistake("From" if self.first >= extent else "Count", message)

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read, with Count along the axis."""
        return with_extent(shapes[self.from_tensor], self.axis, self.count)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of the tensor read."""
        return read[0]

    def describe(self) -> str:
        """The tensor, and what it is of the one that is read."""
        step = f", every {self.step}" if self.step > 1 else ""
        return f"Slice {self.to_tensor} ({self.axis} {self.first} to {self.last}{step} of {self.from_tensor})"
