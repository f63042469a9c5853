"""Errors that the elements of a tensor have in common.

Each output of a convolution repeats the errors of its inputs, so two outputs whose filters have one sign err together.
A sum that takes them as independent then falls short, by up to the root of its number of terms, layer after layer.
(All-positive FullyConnected 12000->4, Conv1x1 4->11, Conv1x1 11->64: up to 11 sigma without what follows.)

So the error of a tensor is split in two: m z with one random number z of variance 1 and a signed array m, the common
mode, and the rest, whose elements are independent; its variance is V = m^2 + I. Through a convolution m goes as values
do, and I as V does otherwise. What part of the outputs' errors is common is seen in the direction of sqrt(I), in which
independent errors add up best: a projection of (sum w I)^2 / sum I of the sum w^2 I. Several modes are merged into one.

Where filters have weights of both signs, none of this matters and none is done: m is then counted as independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nn512.graph.nodes import Activation, Pooling
from reference import ops
from reference.ops import Array

FEW = 16
"""Sums of fewer terms may have one sign by chance, and are not asked."""

ONE_SIDED = 2.0
"""Mean of (sum w)^2 / sum w^2 from which filters count as one-sided: 1 with random signs, about K/2 with one sign."""

Sum = Callable[[Array], Array]
"""A weighted sum, such as a convolution without its biases."""


def one_sided(weights: npt.NDArray[np.floating]) -> bool:
    """Whether a layer's filters (the first axis) pass on common errors coherently, or are too short to tell."""
    rows = weights.reshape(len(weights), -1)
    if rows.shape[1] < FEW:
        return True
    sums = rows.sum(axis=1, dtype=np.float64)
    squares = np.einsum("ki,ki->k", rows, rows, dtype=np.float64)
    ratios = np.square(sums)[squares > 0] / squares[squares > 0]
    return bool(ratios.size and ratios.mean() >= ONE_SIDED)


def weighted_sum(independent: Array, mode: Array | None, correlate: Sum, total: Sum) -> tuple[Array, Array]:
    """What a one-sided layer makes of common errors: the variance that the incoming mode adds, and the outgoing mode.

    `correlate` is the layer's sum, `total` the sum with weights of 1 over the same terms.
    """
    whole = np.sqrt(total(independent))
    fresh = np.divide(correlate(independent), whole, out=np.zeros_like(whole), where=whole > 0)
    if mode is None:
        return np.zeros_like(fresh), fresh
    carried = correlate(mode)
    # The sign of an independent mode means nothing: the one with which it reinforces the other is taken.
    alike = np.sign((carried * fresh).sum(axis=0, keepdims=True))
    fresh = np.where(alike < 0, -fresh, fresh)
    sign = np.where(np.abs(carried) >= np.abs(fresh), np.sign(carried), np.sign(fresh))
    return np.square(carried), sign * np.hypot(carried, fresh)


def activation(mode: Array, x: Array, before: Array, after: Array, node: Activation) -> Array:
    """The mode after a ReLU, scaled as its variance is."""
    scale = np.sqrt(np.divide(after, before, out=np.zeros_like(after), where=before > 0))
    return mode * np.where((x <= 0) & (ops.slope_of(node) < 0), -scale, scale)


def pooling(mode: Array, node: Pooling, after: Array) -> Array:
    """The mode after pooling: its average, or its largest magnitude as far as the variance allows."""
    if not node.is_max:
        return ops.pooling(mode, node)
    high, low = ops.pooling(mode, node), -ops.pooling(-mode, node)
    sigma = np.sqrt(after)
    return np.clip(np.where(high >= -low, high, low), -sigma, sigma)
