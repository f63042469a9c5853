"""Activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import Activation


@dataclass(frozen=True, slots=True)
class ActivationWish(LayerWish):
    """A ReLU with a slope."""

    param: float

    def grow(self, grower: Grower) -> None:
        """Always legal."""
        source = grower.pick(self.source)
        layer = Activation(source, grower.name(), "ReLU", self.param)
        grower.add_layer(layer, grower.shapes[source], output=self.output)


class ActivationKind(Kind[Activation]):
    """ReLUs with every sort of slope."""

    node = Activation

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Slopes of both signs, and beyond 1."""
        slopes = st.sampled_from((0.0, 0.1, 1.0, -1.0, 2.0, 0.5, -0.25))
        return (st.builds(ActivationWish, SOURCES, slopes, output=OUTPUTS),)

    def bound(self, layer: Activation, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """The slope may enlarge."""
        return max(read) * max(1.0, abs(layer.param))
