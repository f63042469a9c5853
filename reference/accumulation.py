"""How far a float32 evaluation may stray: the variance of its rounding error, as far as kinds have it in common.

Errors of single roundings are modelled as independent, and the variance V of a tensor's error is carried through the
graph beside its value; what that leaves out, as elements have errors in common, is seen by `reference.samples`. The
model, with u = 2^-24:

* One rounding to s has variance u^2 s^2 / 3 at most, and 0.18 u^2 s^2 on average over the mantissa of s (0.18 =
  0.541/3; the mean of 1/m^2 over a log-uniform m in 1..2 is 0.541). Single roundings use the first, long
  accumulations the second.
* An accumulation of K products that ends at y: the partial sums wander from 0 to y, their mean square is y^2/3 + Q/2
  with Q the sum of squared products, and each is rounded: sigma^2 = 0.18 u^2 K (y^2/3 + Q/2). Measured over K =
  144..4608 and four kinds of data: rms(error/sigma) 0.5..1, at most 5.6 in 50,000 outputs of a sequential chain; a
  dropped tap gives 19 and more, usually 10^2..10^5. Where products of one sign come in runs, or are sorted, so that the
  partial sums climb, more takes the place of Q (see `reference.runs`).
* An accumulation that starts at b instead of 0 (the bias, or a residual or shift fused into it) has the mean square
  (y-b)^2/3 + Q/2 + b y; the last term is added where it is positive, as the start may just as well be added at the end.
* Below 2^-126 a rounding error stops shrinking: TINY^2 per operation, and weights count as at least 2^-126.

What this comes to, against float32 evaluations in numpy (sequential, reversed, shuffled and 16-lane sums, with and
without fused multiply-add and folding): over 34,000 tensors of random nets in eight regimes, rms 0.1..0.6 by regime
and at most 6.4 sigma; over the layers of ResNet50 and DenseNet121 on 64x64 images rms 0.05..1.2, at most 5.9 sigma.

Roundings are not independent where terms repeat: `reference.residues` has what that adds.

A function takes the variance of what the node reads and returns that of its result; other arguments are float64
values. Where errors of two terms may be the same error (x + x, the pixels of one average) they are added as |e1| +
|e2|, which is valid for any correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference.rounding import Rounding
from reference.roundoff import ROUNDING, SMALLEST_NORMAL, STEP, TINY
from reference.runs import Walk
from reference.windows import Array

REACH = 8.0
"""Standard deviations an error may have: enough to cross a kink, or to change which element is the maximum."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A tensor as `value * factor + shift`, factor and shift per channel: batch normalization and what it read."""

    value: Array
    factor: Array | float = 1.0
    shift: Array | float = 0.0

    def then(self, factor: Array, shift: Array) -> Affine:
        """Another batch normalization after this one."""
        return Affine(self.value, self.factor * factor, self.shift * factor + shift)

    @property
    def product(self) -> Array:
        """Values times factors: what remains of the tensor where the shifts have moved into a later layer's biases."""
        return np.asarray(self.value * self.factor)

    @property
    def shifts(self) -> Array:
        """The shifts, in the shape of the tensor."""
        return np.broadcast_to(np.asarray(self.shift, np.float64), self.value.shape)


class Excess(NamedTuple):
    """What runs of one sign add to the squared products (see `reference.runs`), of the two ways to read a tensor."""

    read: Array | float
    product: Array | float

    @classmethod
    def of(cls, read: Walk | None, product: Walk | None) -> Excess:
        """What the walks show."""
        return cls(0.0 if read is None else read.excess, 0.0 if product is None else product.excess)


def product_variance(terms: int, rounding: Rounding) -> float:
    """Factor of a squared product w x: the wandering of the partial sums and the rounding of the stored weight."""
    return wandering(terms, rounding) + rounding.weight_error**2 / 3


def wandering(terms: int, rounding: Rounding) -> float:
    """Factor of the squared steps of the partial sums: each product, and what runs add to them."""
    return 0.5 * STEP * terms * rounding.accumulation


def weight_floor(weights: npt.NDArray[np.floating], rounding: Rounding) -> Array | float:
    """What is added to w^2 so that weights too small for their format keep their absolute error; per output channel."""
    if not rounding.scales_weights:
        return rounding.weight_floor**2
    axes = tuple(range(1, weights.ndim))
    largest = np.abs(weights).max(axis=axes, keepdims=True).astype(np.float64)
    return np.asarray(rounding.weight_floor**2 + np.square(rounding.weight_span * largest))


def accumulated(y: Array, start: Array, terms: int, rounding: Rounding) -> Array:
    """The part of an accumulation's variance that depends on where it starts and ends, and its last rounding."""
    drift = STEP * terms * rounding.accumulation * (np.square(y - start) / 3)
    smallest = SMALLEST_NORMAL if rounding.reads_bfloat16 else TINY  # sums below that are zeros
    return drift + started(y, start, terms) + ROUNDING * np.square(y) + terms * smallest**2


def started(y: Array, start: Array, terms: int) -> Array:
    """What it adds that an accumulation of `terms` products ending at `y` starts at `start` instead of 0."""
    return STEP * terms * np.maximum(start * y, 0.0)
