"""Poolings."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import POOLINGS, Pooling, Shape


@dataclass(frozen=True, slots=True)
class PoolingWish(LayerWish):
    """A pooling."""

    kind: str
    padding_h: int = 0
    padding_w: int = 0

    def grow(self, grower: Grower) -> None:
        """With padding that is legal."""
        source = grower.pick(self.source)
        shape = grower.shapes[source]
        window = Pooling(source, "", self.kind).window
        if window is None:
            layer = Pooling(source, grower.name(), self.kind)
            grower.add_layer(layer, Shape(shape.channels, 1, 1), output=self.output)
            return
        padding_h, padding_w = (
            max(min(padding, window - 1), -((size - window) // 2), 0)
            for padding, size in ((self.padding_h, shape.height), (self.padding_w, shape.width))
        )
        height, width = (
            (size + 2 * padding - window) // 2 + 1
            for size, padding in ((shape.height, padding_h), (shape.width, padding_w))
        )
        layer = Pooling(source, grower.name(), self.kind, padding_h, padding_w)
        grower.add_layer(layer, Shape(shape.channels, height, width), output=self.output)


class PoolingKind(Kind[Pooling]):
    """Poolings."""

    node = Pooling

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """All kinds of pooling, with every legal padding."""
        padding = st.integers(0, 2)
        return (st.builds(PoolingWish, SOURCES, st.sampled_from(POOLINGS), padding, padding, output=OUTPUTS),)
