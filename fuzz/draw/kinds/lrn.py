"""Local response normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Arrays, Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import LRN

_USUAL = ((5, 0.0001, 0.75, 1.0), (5, 0.0001, 0.75, 2.0), (3, 0.00005, 0.75, 1.0))
_ODD = (
    *((1, 1.0, 0.5, 1.0), (2, 0.5, 1.0, 0.25), (4, 2.0, 0.25, 0.001), (17, 1.0, 0.75, 1.0)),
    *((32, 3.0, 0.5, 0.5), (33, 1.0, 0.75, 1.0), (7, 0.001, 2.0, 3.0), (6, 0.3, 0.6, 1.5), (9, 10.0, 1.7, 0.1)),
)


@dataclass(frozen=True, slots=True)
class LRNWish(LayerWish):
    """A local response normalization, as size, alpha, beta and bias."""

    numbers: tuple[int, float, float, float]

    def grow(self, grower: Grower) -> None:
        """Always legal."""
        source = grower.pick(self.source)
        grower.add_layer(LRN(source, grower.name(), *self.numbers), grower.shapes[source], output=self.output)


class LRNKind(Kind[LRN]):
    """Windows of every width, exponents with roots and others."""

    node = LRN

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """As nets have them, and such that squares count."""
        numbers = st.sampled_from(_USUAL) | st.sampled_from(_ODD)
        return (st.builds(LRNWish, SOURCES, numbers, output=OUTPUTS),)

    def bound(self, layer: LRN, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """What a window of zeros beside it leaves."""
        return float(max(read) * max(1.0, layer.bias**-layer.beta))

    def scale_wide(self, layer: LRN, params: Arrays, rng: np.random.Generator, decade: float) -> float:  # noqa: ARG002
        """A large operand is divided by twice as many decades times the exponent."""
        return decade - 2 * layer.beta * max(decade, 0.0)
