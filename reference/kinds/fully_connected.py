"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nn512.graph.nodes import FullyConnected
from reference import fast, residues, running, runs, shares
from reference.evaluation import Evaluation
from reference.kinds.weighted_sum import WeightedSum, Weights
from reference.residues import Dependent, Folded
from reference.rounding import Rounding
from reference.runs import Walk
from reference.windows import Array, Mask


def value(x: Array, weights: Array, biases: Array) -> Array:
    """Weighted sums of the whole tensor: y[k] = biases[k] + sum over c,h,w of weights[k,c,h,w] * x[c,h,w].

    `weights` is K x C x H x W, `biases` K, the result K x 1 x 1. A weight of zero does not hide an infinity.
    """
    return np.asarray(np.einsum("chw,kchw->k", x, weights) + biases)[:, np.newaxis, np.newaxis]


class FullyConnectedKind(WeightedSum[FullyConnected]):
    """FullyConnected: see `value`."""

    node = FullyConnected

    def weights(self, at: Evaluation[FullyConnected]) -> Weights:
        """See `WeightedSum`. They stay float32, as there may be 10^8 of them."""
        return at.single("Weights")

    def apply(
        self, layer: FullyConnected, x: Array, weights: Weights, of: Callable[[Array], Array] = np.positive
    ) -> Array:
        """See `WeightedSum`."""
        del layer
        return fast.project(x, weights, of)

    def touched(self, layer: FullyConnected, mask: Mask) -> Mask:
        """See `WeightedSum`. Every output sees every cell."""
        return np.full((layer.to_channels, 1, 1), mask.any())

    def walk(self, layer: FullyConnected, x: Array, weights: Weights) -> Walk | None:
        """See `WeightedSum`."""
        del layer
        return runs.fully_connected(x, weights)

    def dependent(
        self, at: Evaluation[FullyConnected], x: Array, weights: Weights, climb: Array, ways: Sequence[Folded]
    ) -> Dependent | None:
        """See `WeightedSum`."""
        return residues.fully_connected(x, weights, climb, ways, at.sampler)

    def running(self, layer: FullyConnected, x: Array, weights: Weights, ways: Sequence[Folded]) -> Array | None:
        """See `WeightedSum`."""
        del layer
        return running.fully_connected(x, weights, ways)

    def crowd(self, layer: FullyConnected, x: Array, weights: Weights, largest: Array) -> Array | None:
        """See `WeightedSum`."""
        del layer
        return residues.crowd_in_rows(x, weights, largest)

    def shares(self, at: Evaluation[FullyConnected], x: Array, weights: Weights) -> Array | None:
        """See `WeightedSum`."""
        return shares.fully_connected(x, weights, at.sampler.multipliers)

    def stored(
        self, layer: FullyConnected, x: Array, weights: Weights, rounding: Rounding, ways: Sequence[Folded]
    ) -> Array:
        """See `WeightedSum`."""
        del layer
        return residues.stored_in_rows(x, weights, rounding, ways)

    def folds_forward(self, layer: FullyConnected) -> bool:
        """See `WeightedSum`."""
        del layer
        return True
