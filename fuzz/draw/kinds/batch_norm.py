"""Batch normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Arrays, Kind, LayerWish, Wish, integers
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import BatchNorm


@dataclass(frozen=True, slots=True)
class BatchNormWish(LayerWish):
    """A batch normalization."""

    epsilon: float

    def grow(self, grower: Grower) -> None:
        """Always legal."""
        source = grower.pick(self.source)
        layer = BatchNorm(source, grower.name(), self.epsilon)
        grower.add_layer(layer, grower.shapes[source], output=self.output)


class BatchNormKind(Kind[BatchNorm]):
    """Batch normalizations; half of the epsilons allow exact arithmetic."""

    node = BatchNorm
    grows = True

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Usual and odd epsilons."""
        epsilons = st.sampled_from((0.00001, 0.0, 0.75, 0.001, 3.0))
        return (st.builds(BatchNormWish, SOURCES, epsilons, output=OUTPUTS),)

    def make_exact(self, layer: BatchNorm, params: Arrays, rng: np.random.Generator, shift: int) -> None:
        """Scales of a power of two, and variances that with epsilon make a power of four where float32 has them."""
        to = layer.to_tensor
        shape = params[to + "Means"].shape
        target = 4.0 ** rng.integers(0, 2, shape)
        variances = target - layer.epsilon
        params[to + "Variances"] = np.where(variances >= 0, variances, 1.0).astype(np.float32)
        params[to + "Scales"] = (rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.integers(0, 2, shape)).astype(np.float32)
        params[to + "Means"] = integers(rng, shape, shift)
        params[to + "Shifts"] = integers(rng, shape, shift)

    def bound(self, layer: BatchNorm, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """Twice the operand without its mean, and the shift."""
        shift = self.exact_shift(read)
        return 2 * (max(read) + shift) + shift

    def rescale(self, layer: BatchNorm, params: Arrays, factor: float) -> float:
        """Means and shifts are added."""
        for suffix in ("Means", "Shifts"):
            params[layer.to_tensor + suffix] *= np.float32(factor)
        return factor

    def scale_wide(self, layer: BatchNorm, params: Arrays, rng: np.random.Generator, decade: float) -> float:  # noqa: ARG002
        """Mean and shift keep their size beside the operand."""
        for suffix in ("Means", "Shifts"):
            params[layer.to_tensor + suffix] *= np.float32(10.0**decade)
        return decade
