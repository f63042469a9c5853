"""Concatenations of two tensors."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import TENSOR_ELEMENTS, Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, PARTNERS, SOURCES, largest_edge, sizes
from nn512.graph import Concat, Shape


@dataclass(frozen=True, slots=True)
class ConcatWish(LayerWish):
    """A concatenation with a tensor of the same height and width, or with a new input of `channels`."""

    second: int
    channels: int
    swap: bool = False

    def grow(self, grower: Grower) -> None:
        """Where there is room for a second tensor."""
        first = grower.pick(self.source)
        _, height, width = shape = grower.shapes[first]
        room = TENSOR_ELEMENTS // (height * width) - shape.channels
        fits = [n for n, s in grower.shapes.items() if s[1:] == (height, width) and s.channels <= room]
        if room < shape.channels or (self.second % 8 == 7 and not fits):
            return
        second = grower.partner(first, self.second, fits, Shape(largest_edge(self.channels, room), height, width))
        if self.swap:
            first, second = second, first
        channels = grower.shapes[first].channels + grower.shapes[second].channels
        layer = Concat(first, second, grower.name())
        grower.add_layer(layer, Shape(channels, height, width), output=self.output)


class ConcatKind(Kind[Concat]):
    """Concatenations of two tensors."""

    node = Concat

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """With any partner, in both orders."""
        return (st.builds(ConcatWish, SOURCES, PARTNERS, sizes(), st.booleans(), output=OUTPUTS),)
