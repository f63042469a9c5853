"""Sums of two tensors."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Add
from reference import domain
from reference.accumulation import started
from reference.evaluation import NOTHING, Evaluation
from reference.kinds.kind import Kind
from reference.roundoff import ROUNDING
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array, Mask


def value(x1: Array, x2: Array) -> Array:
    """Element-wise sum of two tensors of the same shape, which may be the same tensor: y = x1 + x2.

    inf + -inf is NaN, and so is a sum with NaN.
    """
    return x1 + x2


def variance(x1: Array, x2: Array, before: tuple[Array, Array], terms: tuple[int, int], *, correlated: bool) -> Array:
    """Variance of a sum: V1 + V2 (any correlation: (sqrt V1 + sqrt V2)^2) plus one rounding.

    `terms` are the lengths of the accumulations that produced `x1` and `x2`, or 0: the other summand may have been
    fused into either as its start.
    """
    after = before[0] + before[1]
    if correlated:
        after += 2 * np.sqrt(before[0]) * np.sqrt(before[1])
    y = x1 + x2
    return after + ROUNDING * np.square(y) + started(y, x2, terms[0]) + started(y, x1, terms[1])


def unspecified(x1: Tensor, x2: Tensor) -> Mask:
    """Elements with an unspecified summand or where the sum, or the accumulation behind a summand, may overflow.

    Into an accumulation the other summand may have been fused.
    """
    mask = x1.unspecified | x2.unspecified
    if x1.peak + x2.peak > domain.SAFE:
        magnitudes = domain.finite_magnitude(x1.value), domain.finite_magnitude(x2.value)
        accumulated = (x1.peak if x1.terms else 0.0, x2.peak if x2.terms else 0.0)
        largest = np.maximum(magnitudes[0] + accumulated[1], magnitudes[1] + accumulated[0])
        mask = mask | (np.maximum(largest, sum(magnitudes)) > domain.SAFE)
    return mask


class AddKind(Kind[Add]):
    """Add: see `value`."""

    node = Add

    def evaluate(self, at: Evaluation[Add]) -> Tensor:
        """See `Kind`."""
        x1, x2 = at.reads
        correlated = bool(x1.origins & x2.origins)

        def evaluated(before1: Array, before2: Array) -> Array:
            return variance(x1.value, x2.value, (before1, before2), (x1.terms, x2.terms), correlated=correlated)

        derived, own = evaluated(x1.derived, x2.derived), evaluated(NOTHING, NOTHING)
        y, sampled = value(x1.value, x2.value), (x1.errors + x2.errors, own)
        terms, peak = max(x1.terms, x2.terms), x1.peak + x2.peak
        return at.finish(y, derived, sampled, unspecified(x1, x2), terms=terms, peak=peak)

    def step(self, at: Stepping[Add]) -> Stepped:
        """See `Kind`."""
        x1, x2 = at.reads
        exact, bound = x1.exact & x2.exact, x1.bound + x2.bound
        return Stepped.of_sum(value(x1.value, x2.value), exact, bound, min(x1.step, x2.step), at.limit)
