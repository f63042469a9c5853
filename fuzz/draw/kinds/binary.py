"""Sums of two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, PARTNERS, SOURCES
from nn512.graph import Add


@dataclass(frozen=True, slots=True)
class AddWish(LayerWish):
    """A sum with another tensor of the same shape: an older one, the tensor itself, or a new input."""

    second: int

    def grow(self, grower: Grower) -> None:
        """There is always a partner."""
        first = grower.pick(self.source)
        shape = grower.shapes[first]
        fits = [name for name, other in grower.shapes.items() if other == shape]
        second = grower.partner(first, self.second, fits, shape)
        grower.add_layer(Add(first, second, grower.name()), shape, output=self.output)


class AddKind(Kind[Add]):
    """Sums of two tensors."""

    node = Add
    grows = True

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """With any partner."""
        return (st.builds(AddWish, SOURCES, PARTNERS, output=OUTPUTS),)

    def bound(self, layer: Add, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """The sum of both."""
        return sum(read)

    def join(self, first: str, second: str, to: str) -> Add:
        """A sum needs both of its operands."""
        return Add(first, second, to)
