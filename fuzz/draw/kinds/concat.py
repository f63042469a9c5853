"""Concatenations of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from fuzz.draw.grower import TENSOR_ELEMENTS, Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, PARTNERS, SOURCES, largest_edge, sizes
from nn512.graph import Concat
from nn512.graph.axes import AXES, extent_of, with_extent


@dataclass(frozen=True, slots=True)
class ConcatWish(LayerWish):
    """A concatenation with a tensor that fits along the axis, or with a new input of `channels` (or rows, columns).

    `others` are further tensors that fit, by recency; they are left out where there is no room.
    """

    second: int
    channels: int
    swap: bool = False
    axis: str = AXES[0]
    others: tuple[int, ...] = ()

    def grow(self, grower: Grower) -> None:
        """Where there is room for a second tensor."""
        first = grower.pick(self.source)
        shape = grower.shapes[first]
        extent, across = extent_of(shape, self.axis), with_extent(shape, self.axis, 1)
        room = TENSOR_ELEMENTS // across.elements - extent
        fits = [
            name
            for name, other in grower.shapes.items()
            if with_extent(other, self.axis, 1) == across and extent_of(other, self.axis) <= room
        ]
        if room < extent or (self.second % 8 == 7 and not fits):
            return
        fresh = with_extent(shape, self.axis, largest_edge(self.channels, room))
        parts = [first, grower.partner(first, self.second, fits, fresh)]
        if self.swap:
            parts.reverse()
        extent = sum(extent_of(grower.shapes[name], self.axis) for name in parts)
        for number in self.others:
            name = fits[-1 - number % len(fits)] if fits else first
            more = extent_of(grower.shapes[name], self.axis)
            if extent + more <= room:
                parts.append(name)
                extent += more
        rest: dict[str, Any] = {f"from_tensor{number}": name for number, name in enumerate(parts[2:], 3)}
        layer = Concat(parts[0], parts[1], grower.name(), axis=self.axis, **rest)
        grower.add_layer(layer, with_extent(shape, self.axis, extent), output=self.output)


class ConcatKind(Kind[Concat]):
    """Concatenations of tensors."""

    node = Concat

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """With any partner, in both orders; of up to eight tensors; along any axis."""
        others = st.lists(PARTNERS, max_size=2) | st.lists(PARTNERS, max_size=6)
        two = (SOURCES, PARTNERS, sizes(), st.booleans())
        plain = st.builds(ConcatWish, *two, output=OUTPUTS)
        many = st.builds(ConcatWish, *two, axis=st.sampled_from(AXES), others=others.map(tuple), output=OUTPUTS)
        return (plain | many,)
