"""Softmax over channels."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Softmax
from reference import samples
from reference.accumulation import REACH
from reference.evaluation import NOTHING, Evaluation
from reference.grid import CERTAIN
from reference.kinds.kind import Kind
from reference.roundoff import ROUNDING, SMALLEST_NORMAL, STEP, U
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array

EXP_ERROR = 4 * U
"""Largest relative error of the emitted exponential: 2 ulp."""


def value(x: Array) -> Array:
    """At every position exp(x - m) / sum over channels of exp(x - m), m the maximum over channels; shape unchanged.

    As numpy evaluates it: a position that holds NaN or +inf, or nothing but -inf, is NaN in every channel; otherwise
    -inf gives 0.
    """
    powers = np.exp(x - x.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def variance(x: Array, before: Array, y: Array) -> Array:
    """Variance of softmax through its Jacobian dy_i/dx_j = y_i ((i = j) - y_j).

    With v_j the variance of x_j, of the rounded difference x_j - max and of the exponential (EXP_ERROR), all of them
    shifts of the exponent: V_i = y_i^2 ((1 - 2 y_i) v_i + sum over j of y_j^2 v_j), plus the accumulated sum and two
    roundings (reciprocal, product). Large errors do not act
    linearly: v is replaced by the squared (exp(REACH sigma) - 1) / REACH. Where they are so large that another channel
    may be the largest, y tells nothing (it may be 0 exactly): what y is at most or at least counts as CERTAIN sigma.
    Results below 2^-126 may be flushed to zero. V is at most 1, as is y.
    """
    difference = x - x.max(axis=0)
    sigma = np.sqrt(before + ROUNDING * np.where(y > 0, np.square(difference), 0.0))
    v = np.square(np.expm1(np.minimum(REACH * sigma, 300.0)) / REACH) + EXP_ERROR**2 / 3
    total = (np.square(y) * v).sum(axis=0)
    own = STEP * len(x) * _repeats(y, axis=0) * (1 / 3 + np.square(y).sum(axis=0) / 2) + 2 * ROUNDING
    others = np.maximum(total - np.square(y) * v, 0.0)
    after = np.square(y) * (np.square(1 - y) * v + others + own) + SMALLEST_NORMAL**2
    if (REACH * sigma > 1).any():
        after = np.maximum(after, np.square(_farthest(x, REACH * sigma, y) / CERTAIN))
    return np.asarray(np.minimum(after, 1.0))


def _farthest(x: Array, errors: Array, y: Array) -> Array:
    """How far a result can be from `y`, at positions where an error is above 1 in any channel; 0 elsewhere."""
    from scipy.special import expit  # noqa: PLC0415 - takes a fifth of the time that the tester needs to start

    large = (errors > 1).any(axis=0)
    most, least = x[:, large] + errors[:, large], x[:, large] - errors[:, large]
    highest, lowest = (expit(a - _others(b)) for a, b in ((most, least), (least, most)))
    farthest = np.zeros(y.shape)
    farthest[:, large] = np.maximum(highest - y[:, large], y[:, large] - lowest)
    return farthest


def _others(x: Array) -> Array:
    """The logarithm of the sum of exp(x) over all channels but each one; x is C x N."""
    nothing = np.full((1, *x.shape[1:]), -np.inf)
    before = np.concatenate((nothing, np.logaddexp.accumulate(x, axis=0)[:-1]))
    behind = np.concatenate((np.logaddexp.accumulate(x[::-1], axis=0)[-2::-1], nothing))
    return np.asarray(np.logaddexp(before, behind))


def _repeats(terms: Array, axis: int) -> Array:
    """How often the most frequent non-zero value stands among the terms of a sum along `axis`.

    Equal terms are rounded alike as long as the sum keeps its exponent: m of them have m times one error, not sqrt(m)
    times, so the variance of the accumulation grows by up to m. Values count as equal when they are to float32, as
    their float64 sums may have been taken in different orders.
    """
    ordered = np.moveaxis(np.sort(terms.astype(np.float32), axis=axis), axis, 0)
    places = np.arange(len(ordered)).reshape(-1, *(1,) * (ordered.ndim - 1))
    begins = np.ones(ordered.shape, np.bool_)
    begins[1:] = (ordered[1:] != ordered[:-1]) | (ordered[1:] == 0)
    return np.asarray((places - np.maximum.accumulate(np.where(begins, places, 0), axis=0)).max(axis=0) + 1.0)


class SoftmaxKind(Kind[Softmax]):
    """Softmax: see `value`."""

    node = Softmax

    def evaluate(self, at: Evaluation[Softmax]) -> Tensor:
        """See `Kind`. Positions with an unspecified channel are unspecified."""
        (x,) = at.reads
        y = value(x.value)
        derived = variance(x.value, x.mixed_variance, y)
        own = variance(x.value, NOTHING, y)
        errors = samples.difference(value, x.value, x.errors, y)
        unspecified = np.broadcast_to(x.unspecified.any(axis=0), x.unspecified.shape)
        return at.finish(y, derived, (errors, own), unspecified)

    def step(self, at: Stepping[Softmax]) -> Stepped:
        """See `Kind`. Nothing is exact."""
        (x,) = at.reads
        return Stepped.leaf(value(x.value), np.zeros_like(x.exact))
