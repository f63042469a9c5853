"""Samples of the error a float32 evaluation may have, carried through the graph beside the value.

The variance that the kinds derive takes the errors of different elements as independent. They are not where few
noisy elements feed many that are summed again, or where filters have one sign: each output repeats the errors of its
inputs, so outputs err together. Equal elements err alike from the start: they were computed from equal terms. Nor is
there one random number behind such errors, but as many as the bottleneck has elements. Measured over 200 draws of the
data each, the largest error in sigma at the end of eight Conv1x1 (with samples of uniform errors; those of today have
the mean square in every single one):

    channels, filters                derived    with 8 samples    with 16
    4 throughout, all positive          21.7               8.3        5.0
    40 and 2 in turn, all positive      12.8               5.5        4.1
    4 throughout, both signs             7.1               3.6        4.0
    40 and 2 in turn, both signs         7.0               3.4        3.1

So the propagated variance is measured too. Some evaluations more, in which every node's result gets an error of its own
(of the variance that the node alone adds), go through the exact functions, kinks included: what they are off by at an
element is a sample of its error, correlated with those of others as it should be. The mean square of n samples
estimates the variance as chi-square of n degrees of freedom over n does; an honest error divided by its root is
Student's t. As errors are about half their sigma (see `reference.accumulation`), one in 10^13 (n = 16) or 10^8 (n = 8)
passes a limit of 12 sigma (see `fuzz.judge.limits`). The variance of a result is the larger of the two: samples can
only widen it.

Arrays of samples are C x S x H x W: S samples of a C x H x W tensor. What is evaluated is the difference that an error
makes, so that nothing is lost beside large values, and an element that is not finite has an error of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nn512.graph.graph import Graph, multiply_accumulates
from reference import fast
from reference.accumulation import weight_floor
from reference.alike import with_signs
from reference.rounding import Rounding
from reference.roundoff import U
from reference.windows import Array, Window

MANY = 16
"""Samples for small graphs."""

FEW = 8
"""Samples for large ones, which otherwise take too long."""

LARGE_MAC = 100e6
"""Multiply-accumulates from which a graph is large. ResNet50 takes 9 s of processor time, 4 s of them without samples;
random graphs of the campaign take 3 ms instead of 2 (median)."""

ROOM = 1 << 28
"""Elements of the samples of one tensor that memory is taken for, 2 GiB."""


def sensible_count(graph: Graph) -> int:
    """How many samples a graph gets: MANY, FEW where it is large, and none where its tensors are too large for FEW."""
    total = sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers)
    largest = max(math.prod(shape) for shape in graph.shapes.values())
    for count, fits in ((MANY, total < LARGE_MAC), (FEW, True)):
        if fits and count * largest <= ROOM:
            return count
    return 0


@dataclass(frozen=True, slots=True)
class Sampler:
    """A source of random errors; the same for every evaluation of a graph.

    count: how many samples, the S in shapes; 0 for none.
    multipliers: an odd number per sample, which makes its signs of one hash.
    independent: whether roundings are taken as independent of each other, and signs of products as random, without a
        look at the numbers.
    """

    count: int
    generator: np.random.Generator
    multipliers: npt.NDArray[np.uint32]
    independent: bool = False

    @classmethod
    def of(cls, count: int, *, independent: bool = False) -> Sampler:
        """The source for one evaluation."""
        generator = np.random.default_rng(count)
        multipliers = generator.integers(0, 1 << 32, count, np.uint32) | np.uint32(1)
        return cls(count, generator, multipliers, independent)

    @property
    def without_samples(self) -> Sampler:
        """A source of none, for evaluations of which only the derived variance is wanted."""
        return Sampler.of(0, independent=self.independent)

    def none(self, shape: tuple[int, ...]) -> Array:
        """No errors, of a tensor of shape C x H x W."""
        return np.zeros((shape[0], self.count, *shape[1:]))

    def add_own(self, errors: Array, own: Array, value: Array) -> None:
        """Add errors of the variances `own`, C x H x W, to those in `errors`: the root of each, with a random sign.

        The sign belongs to the value of the element (see `reference.alike`): equal elements were computed from equal
        terms and err alike, and what later sums make of that must not be lost.
        """
        if self.count and own.any():
            errors += with_signs(np.sqrt(own), value, self.multipliers)

    def common(self, error: Array) -> Array:
        """Errors of the signs and sizes `error`, C x H x W, but for a random sign that all elements have in common."""
        signs = self.generator.integers(0, 2, self.count) * 2.0 - 1.0
        return np.asarray(error[:, np.newaxis] * signs[:, np.newaxis, np.newaxis])

    def stored_weights(self, x: Array, weights: Array, window: Window, rounding: Rounding) -> Array:
        """What rounded weights do to a convolution of `x`: the same error of a weight at every pixel."""
        largest = rounding.weight_error * np.sqrt(np.square(weights) + weight_floor(weights, rounding))
        drawn = self.generator.random((len(weights), self.count, *weights.shape[1:]), np.float32)
        drawn -= np.float32(0.5)
        errors = (drawn * (2 * largest)[:, np.newaxis]).reshape(-1, *weights.shape[1:])
        y = fast.correlate(x, errors, window)
        return y.reshape(len(weights), self.count, *y.shape[1:])


def coarse(rounding: Rounding) -> bool:
    """Whether weights are stored with larger errors than those of the arithmetic, which then are not lost among them.

    Else they count as errors of the outputs, each its own.
    """
    return rounding.weight_error > U


def mean_square(errors: Array) -> Array:
    """The variance that samples show, C x H x W; 0 without samples."""
    return np.asarray(np.einsum("cshw,cshw->chw", errors, errors) / max(1, errors.shape[1]))


def difference(function: Callable[[Array], Array], x: Array, errors: Array, y: Array) -> Array:
    """Errors of y = function(x) that come from those of `x`."""
    return function(x[:, np.newaxis] + errors) - y[:, np.newaxis]
