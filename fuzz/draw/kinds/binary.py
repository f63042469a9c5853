"""Functions of two tensors, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, PARTNERS, SOURCES
from nn512.graph import Add, Binary, Div, Max, Min, Mul, Shape, Sub

_SPREADS = st.sampled_from(
    (*[""] * 6, *["HW"] * 3, "C", "CHW", "H", "W", "CH", "CW"),
)
"""Axes along which one element of the second tensor meets all of the first."""


@dataclass(frozen=True, slots=True)
class BinaryWish(LayerWish):
    """A function of a tensor and another one that fits: an older one, the tensor itself, or a new input.

    The other has the extent 1 along the axes `spread`, given by their letters.
    """

    second: int
    spread: str = ""
    node: type[Binary] = field(default=Add, kw_only=True)

    def grow(self, grower: Grower) -> None:
        """There is always a partner."""
        first = grower.pick(self.source)
        shape = grower.shapes[first]
        wanted = Shape(*(1 if axis in self.spread else extent for axis, extent in zip("CHW", shape, strict=True)))
        fits = [name for name, other in grower.shapes.items() if other == wanted]
        second = grower.partner(first, self.second, fits, wanted)
        grower.add_layer(self.node(first, second, grower.name()), shape, output=self.output)


class _BinaryKind(Kind[Binary]):
    """One of these functions, with any partner."""

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """With any partner."""
        return (st.builds(BinaryWish, SOURCES, PARTNERS, _SPREADS, output=OUTPUTS, node=st.just(self.node)),)


class AddKind(_BinaryKind):
    """Sums of two tensors."""

    node = Add
    grows = True

    def bound(self, layer: Binary, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """The sum of both."""
        return sum(read)

    def join(self, first: str, second: str, to: str) -> Add:
        """A sum needs both of its operands."""
        return Add(first, second, to)


class SubKind(_BinaryKind):
    """Differences of two tensors."""

    node = Sub
    grows = True
    seldom = True

    def bound(self, layer: Binary, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """The sum of both."""
        return sum(read)


class MulKind(_BinaryKind):
    """Products of two tensors."""

    node = Mul
    grows = True

    def bound(self, layer: Binary, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """The product of both."""
        return read[0] * read[-1]


class DivKind(_BinaryKind):
    """Quotients of two tensors; of integers they are no larger than what is divided."""

    node = Div
    seldom = True


class MaxKind(_BinaryKind):
    """The larger of two tensors."""

    node = Max
    seldom = True


class MinKind(_BinaryKind):
    """The smaller of two tensors."""

    node = Min
    seldom = True
