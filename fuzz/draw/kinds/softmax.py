"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Arrays, Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import Softmax


@dataclass(frozen=True, slots=True)
class SoftmaxWish(LayerWish):
    """A softmax."""

    def grow(self, grower: Grower) -> None:
        """Always legal."""
        source = grower.pick(self.source)
        grower.add_layer(Softmax(source, grower.name()), grower.shapes[source], output=self.output)


class SoftmaxKind(Kind[Softmax]):
    """Softmax, whose results are probabilities whatever it reads."""

    node = Softmax

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """On anything."""
        return (st.builds(SoftmaxWish, SOURCES, output=OUTPUTS),)

    def bound(self, layer: Softmax, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """At most 1."""
        return 1.0

    def rescale(self, layer: Softmax, params: Arrays, factor: float) -> float:  # noqa: ARG002
        """Near 1."""
        return 1.0

    def scale_wide(self, layer: Softmax, params: Arrays, rng: np.random.Generator, decade: float) -> float:  # noqa: ARG002
        """Near 1."""
        return 0.0
