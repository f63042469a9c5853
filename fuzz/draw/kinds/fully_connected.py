"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import WEIGHTS, Grower
from fuzz.draw.kinds.base import LayerWish, Wish
from fuzz.draw.kinds.sums import SumsOfProducts
from fuzz.draw.sizes import OUTPUTS, SOURCES, largest_edge, sizes
from nn512.graph import FullyConnected, Shape


@dataclass(frozen=True, slots=True)
class FullyConnectedWish(LayerWish):
    """A fully connected layer, on an image too."""

    to_channels: int

    def grow(self, grower: Grower) -> None:
        """As many outputs as weights are allowed for."""
        source = grower.pick(self.source)
        elements = grower.shapes[source].elements
        to_channels = largest_edge(self.to_channels, WEIGHTS // elements)
        if to_channels and grower.afford(to_channels * elements):
            layer = FullyConnected(source, grower.name(), to_channels)
            grower.add_layer(layer, Shape(to_channels, 1, 1), output=self.output)


class FullyConnectedKind(SumsOfProducts[FullyConnected]):
    """Fully connected layers."""

    node = FullyConnected

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Of any number of outputs."""
        return (st.builds(FullyConnectedWish, SOURCES, sizes(), output=OUTPUTS),)
