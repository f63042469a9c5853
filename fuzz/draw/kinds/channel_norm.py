"""What normalizations over channels have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Arrays, Kind, LayerWish, Wish, integers
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import LayerNorm, RMSNorm

N = TypeVar("N", LayerNorm, RMSNorm)

_FAR = 4
"""Standard deviations that a normalized value is seldom beyond."""


@dataclass(frozen=True, slots=True)
class ChannelNormWish(LayerWish):
    """A normalization over channels."""

    kind: type[LayerNorm | RMSNorm]
    epsilon: float

    def grow(self, grower: Grower) -> None:
        """Always legal."""
        source = grower.pick(self.source)
        layer = self.kind(source, grower.name(), self.epsilon)
        grower.add_layer(layer, grower.shapes[source], output=self.output)


class ChannelNormKind(Kind[N]):
    """Results are of a size that hardly depends on what is read."""

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Usual and odd epsilons; at 0 there is no result where all channels are alike."""
        epsilons = st.sampled_from((0.00001, 0.0, 0.001, 1e-12, 3.0))
        return (st.builds(ChannelNormWish, SOURCES, st.just(self.node), epsilons, output=OUTPUTS),)

    def make_exact(self, layer: N, params: Arrays, rng: np.random.Generator, shift: int) -> None:
        """Small integers; what comes out is not exact all the same."""
        for kind in layer.parameter_kinds:
            name = layer.to_tensor + kind.suffix
            params[name] = integers(rng, params[name].shape, max(shift, 1))

    def bound(self, layer: N, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """A scaled and shifted value that is not too far out."""
        shift = max(self.exact_shift(read), 1)
        return (_FAR + 1) * shift

    def rescale(self, layer: N, params: Arrays, factor: float) -> float:  # noqa: ARG002
        """Near 1, or nothing."""
        return 1.0

    def scale_wide(self, layer: N, params: Arrays, rng: np.random.Generator, decade: float) -> float:  # noqa: ARG002
        """Near 1, but for operands that are small beside the root of epsilon."""
        return min(decade - math.log10(layer.epsilon) / 2, 0.0) if layer.epsilon else 0.0
