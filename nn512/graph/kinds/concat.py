"""The node Concat: tensors one behind another along an axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.axes import AXES, axis_field, extent_of, with_extent
from nn512.graph.diagnostics import quote
from nn512.graph.fields import read_tensor, written_tensor
from nn512.graph.moments import Moments
from nn512.graph.node import Layer, Mistake, Shape


@dataclass(frozen=True, slots=True)
class Concat(Layer):
    """FromTensor1 followed by FromTensor2 and so on, along Axis; in the other two extents all are the same."""

    from_tensor1: str = read_tensor("FromTensor1")
    from_tensor2: str = read_tensor("FromTensor2")
    from_tensor3: str | None = read_tensor("FromTensor3", "The third tensor, if any.", optional=True, kw_only=True)
    from_tensor4: str | None = read_tensor("FromTensor4", "The fourth one.", optional=True, kw_only=True)
    from_tensor5: str | None = read_tensor("FromTensor5", "The fifth one.", optional=True, kw_only=True)
    from_tensor6: str | None = read_tensor("FromTensor6", "The sixth one.", optional=True, kw_only=True)
    from_tensor7: str | None = read_tensor("FromTensor7", "The seventh one.", optional=True, kw_only=True)
    from_tensor8: str | None = read_tensor("FromTensor8", "The eighth one.", optional=True, kw_only=True)
    to_tensor: str = written_tensor()
    axis: str = axis_field("Along which axis: channels one behind another, rows below others, or columns side by side.")

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        """A tensor left out between others, and two sizes of pictures."""
        fields = (
            self.from_tensor1,
            self.from_tensor2,
            self.from_tensor3,
            self.from_tensor4,
            self.from_tensor5,
            self.from_tensor6,
            self.from_tensor7,
            self.from_tensor8,
        )
        given = [number for number, name in enumerate(fields, 1) if name is not None]
        if given[-1] > len(given):
            missing = next(number for number, name in enumerate(fields, 1) if name is None)
            yield Mistake(f"FromTensor{given[-1]}", f"FromTensor{given[-1]} is given, but FromTensor{missing} is not")
        first = self.reads[0]
        wanted = with_extent(shapes[first], self.axis, 0)
        for number, name in zip(given, self.reads, strict=True):
            if with_extent(shapes[name], self.axis, 0) != wanted:
                same = " and ".join(axis.lower() for axis in AXES if axis != self.axis)
                told = f"{quote(first)} is {shapes[first]} and {quote(name)} is {shapes[name]}"
                count = {2: "two"}.get(len(given), "all")
                yield Mistake(f"FromTensor{number}", f"Concat needs {count} tensors of the same {same}, but {told}")
                return

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """The extents of all, added up along the axis."""
        total = sum(extent_of(shapes[name], self.axis) for name in self.reads)
        return with_extent(shapes[self.from_tensor1], self.axis, total)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:
        """Those of a mixture."""
        total = extent_of(shapes[self.to_tensor], self.axis)
        shares = [extent_of(shapes[name], self.axis) / total for name in self.reads]
        mean = sum(share * moments.mean for share, moments in zip(shares, read, strict=True))
        power = sum(share * moments.power for share, moments in zip(shares, read, strict=True))
        return Moments(mean, power - mean**2)

    def describe(self) -> str:
        """The tensor, and those that are read."""
        axis = "" if self.axis == AXES[0] else f", {self.axis}"
        return f"Concat {self.to_tensor} ({', '.join(self.reads)}{axis})"


MOST_TENSORS = sum(name.startswith("from_tensor") for name in Concat.__slots__)
"""Tensors that one node takes."""
