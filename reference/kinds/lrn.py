"""Local response normalization across channels."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import LRN
from reference import domain, samples
from reference.accumulation import REACH
from reference.evaluation import NOTHING, Evaluation
from reference.grid import CERTAIN
from reference.kinds.kind import Kind
from reference.roundoff import ROUNDING, SMALLEST_NORMAL, TINY, U
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array

POWER_ERROR = 4 * U
"""Largest relative error of a power for a small exponent: 2 ulp. By a logarithm it is Beta times half as much more."""


def value(x: Array, node: LRN) -> Array:
    """At every position x[c] / (Bias + Alpha / Size * s[c])^Beta, with Alpha, Beta and Bias rounded to float32.

    s[c] is the sum of x[i]^2 over c - floor((Size - 1) / 2) <= i <= c + ceil((Size - 1) / 2), channels that there are
    not left out; shape unchanged. A window that holds NaN gives NaN, one that holds an infinity 0, or NaN where that is
    the channel itself. Where squares sum to more than float32 holds, the result is unspecified.
    """
    alpha, beta, bias = _numbers(node)
    return np.asarray(x / (bias + alpha / node.size * window_sums(np.square(x), node.size)) ** beta)


def window_sums(terms: Array, size: int) -> Array:
    """Sums over windows of channels, the first axis."""
    before = (size - 1) // 2
    total = np.zeros_like(terms)
    for offset in range(-before, size - before):
        first, last = max(0, -offset), min(len(terms), len(terms) - offset)
        if first < last:
            total[first:last] += terms[first + offset : last + offset]
    return total


def variance(x: Array, before: Array, y: Array, node: LRN) -> Array:
    """Variance through the Jacobian dy_i/dx_j = g ((i = j) - 2 Beta a x_i x_j / d), a = Alpha / Size, g = d^-Beta.

    Errors may be large beside x: d is taken where x is REACH of their sigmas nearer to zero, and x_i x_j where both are
    that much further out; a |x_i x_j| / d is never more than 1.

    The sum of squares has n + 1 roundings, all alike where terms are; d another three, and what it errs by counts Beta
    times. The power and two products or a quotient follow. A factor below the normal numbers may be flushed to zero.
    """
    alpha, beta, bias = _numbers(node)
    a = alpha / node.size
    sums = window_sums(np.square(x), node.size)
    d = bias + a * sums
    factor = d**-beta
    reach = REACH * np.sqrt(np.broadcast_to(before, x.shape))
    far = np.abs(x) + reach
    least = bias + a * window_sums(np.square(np.maximum(np.abs(x) - reach, 0.0)), node.size)
    share = a * far / least
    own_share = np.minimum(share * far, 1.0)
    v = np.broadcast_to(before, x.shape)
    others = np.square(share) * (window_sums(np.square(far) * v, node.size) - np.square(far) * v)
    others = np.minimum(np.maximum(others, 0.0), window_sums(v, node.size))
    itself = v * np.maximum(1.0, np.square(1 - 2 * beta * own_share))
    read = np.square(least**-beta) * (itself + 4 * beta**2 * others)

    squares = ROUNDING * (node.size + 1) + (node.size * U / CERTAIN) ** 2
    of_d = np.square(a * sums / d) * (squares + 2 * ROUNDING) + ROUNDING
    own = np.square(y) * (beta**2 * of_d + (POWER_ERROR * (1 + beta / 2)) ** 2 / 3 + 2 * ROUNDING) + TINY**2
    flushed = np.where(factor < SMALLEST_NORMAL, np.square(x * SMALLEST_NORMAL), 0.0)
    return np.asarray(read + own + flushed)


def _numbers(node: LRN) -> tuple[float, float, float]:
    """Alpha, Beta and Bias as float32 has them."""
    return float(np.float32(node.alpha)), float(np.float32(node.beta)), float(np.float32(node.bias))


class LRNKind(Kind[LRN]):
    """LRN: see `value`."""

    node = LRN

    def evaluate(self, at: Evaluation[LRN]) -> Tensor:
        """See `Kind`."""
        (x,), layer = at.reads, at.layer
        y = value(x.value, layer)
        derived = variance(x.value, x.mixed_variance, y, layer)
        own = variance(x.value, NOTHING, y, layer)
        errors = samples.difference(lambda moved: value(moved, layer), x.value, x.errors, y)
        alpha, _, bias = _numbers(layer)
        sizes = window_sums(np.square(domain.finite_magnitude(x.value)), layer.size)
        largest = bias + max(alpha, 1.0) * sizes
        lost = window_sums(x.unspecified.astype(np.float64), layer.size) > 0
        infinite = window_sums((~np.isfinite(x.value)).astype(np.float64), layer.size) > 0
        return at.finish(y, derived, (errors, own), lost | ((largest > domain.SAFE) & ~infinite))

    def step(self, at: Stepping[LRN]) -> Stepped:
        """See `Kind`. Nothing is exact."""
        (x,) = at.reads
        return Stepped.leaf(value(x.value, at.layer), np.zeros_like(x.exact))
