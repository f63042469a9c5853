"""The node Pooling: the largest or the mean value of windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from nn512.graph.fields import ValueType, declare, geometry, read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape
from nn512.graph.windows import no_room, pair

POOLINGS = ("Max2x2Stride2", "Avg2x2Stride2", "Max3x3Stride2", "Avg3x3Stride2", "MaxGlobal", "AvgGlobal")


@dataclass(frozen=True, slots=True)
class Pooling(Layer):
    """Maximum or average over windows, channel by channel.

    Padding cells take no part: the maximum ignores them and the average divides by the number of real cells. The
    padding must be smaller than the window. Out height is `(H + 2*PaddingH - window) / 2 + 1`, rounded down. The global
    kinds take the whole tensor, allow no padding, and give a 1x1 result.
    """

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    kind: str = declare("Kind", ValueType.CHOICE, "Operation, window and stride.", choices=POOLINGS)
    padding_h: int = geometry("PaddingH", ValueType.NATURAL, "Rows of padding above, and as many below.", 0)
    padding_w: int = geometry("PaddingW", ValueType.NATURAL, "Columns of padding left, and as many right.", 0)

    @property
    def window(self) -> int | None:
        """Rows (and columns) of the window; None where it is the whole tensor."""
        return None if self.kind.endswith("Global") else int(self.kind[3])

    @property
    def is_max(self) -> bool:
        """Whether the node takes maxima rather than averages."""
        return self.kind.startswith("Max")

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """Padding where there is no window, or as large as the window; and windows larger than the tensor."""
        shape, window = shapes[self.from_tensor], self.window
        for axis, size, padding in (("H", shape.height, self.padding_h), ("W", shape.width, self.padding_w)):
            if window is None:
                if padding:
                    yield Mistake(f"Padding{axis}", f"{self.kind} takes no padding")
            elif padding >= window:
                limit = f"must be smaller than the window, which is {window}x{window}"
                yield Mistake(f"Padding{axis}", f"padding too large: {padding} {limit}")
            elif size + 2 * padding < window:
                yield Mistake("Kind", no_room(self.from_tensor, shape, axis, window, padding, padding))

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """One pixel for every place of the window."""
        shape = shapes[self.from_tensor]
        if self.window is None:
            return Shape(shape.channels, 1, 1)
        rows = (shape.height + 2 * self.padding_h - self.window) // 2 + 1
        return Shape(shape.channels, rows, (shape.width + 2 * self.padding_w - self.window) // 2 + 1)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Less varied; maxima are a deviation above the mean."""
        mean = read[0].mean + (sqrt(read[0].variance) if self.is_max else 0.0)
        return Moments(mean, read[0].variance / 2)

    def describe(self) -> str:
        """The tensor, the kind and the padding."""
        padding = f", padding {pair(self.padding_h, self.padding_w)}" if self.padding_h or self.padding_w else ""
        return f"Pooling {self.to_tensor} ({self.kind}{padding})"
