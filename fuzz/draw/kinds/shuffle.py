"""Channel shuffles."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import Shuffle


@dataclass(frozen=True, slots=True)
class ShuffleWish(LayerWish):
    """A shuffle; `groups` picks a divisor of the channels, the first of which is 1."""

    groups: int

    def grow(self, grower: Grower) -> None:
        """One group is a divisor of all."""
        source = grower.pick(self.source)
        shape = grower.shapes[source]
        divisors = [d for d in range(1, shape.channels + 1) if shape.channels % d == 0]
        layer = Shuffle(source, grower.name(), divisors[self.groups % len(divisors)])
        grower.add_layer(layer, shape, output=self.output)


class ShuffleKind(Kind[Shuffle]):
    """Channel shuffles."""

    node = Shuffle

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """With any number of groups."""
        return (st.builds(ShuffleWish, SOURCES, st.sampled_from((1, 1, 2, 3, 0, 4)), output=OUTPUTS),)
