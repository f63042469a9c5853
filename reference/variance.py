"""How far a float32 evaluation may stray: the variance of its rounding error, one function per node kind.

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

from nn512.graph.nodes import Activation, Conv, Pooling
from reference import fast
from reference.grid import CERTAIN, certain_error
from reference.ops import Array, pad, real_cells, slope_of, windows
from reference.rounding import SMALLEST_NORMAL, Rounding, U
from reference.runs import Walk

ROUNDING = U**2 / 3
"""Relative variance of one rounding."""

STEP = 0.18 * U**2
"""Relative variance of one rounding in a long accumulation."""

TINY = 2.0**-150
"""Largest error of one rounding to a subnormal number."""

REACH = 8.0
"""Standard deviations an error may have: enough to cross a kink, or to change which element is the maximum."""

EXP_ERROR = 4 * U
"""Largest relative error of the emitted exponential: 2 ulp."""


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


NO_EXCESS = Excess(0.0, 0.0)


def conv(
    x: Array,
    before: Array,
    y: Array,
    weights: Array,
    biases: Array,
    node: Conv,
    rounding: Rounding,
    affine: Affine | None = None,
    excess: Excess = NO_EXCESS,
) -> Array:
    """Variance of a convolution: w^2 correlated with V, plus the accumulation, plus the rounding of stored weights.

    The stored weights may have been rounded once (batch normalization folded in, or a narrow format):
    weight_error^2/3 * Q. Both that and Q of the accumulation are correlations of w^2 with something, so one
    correlation does for all three. `excess` is what is added to Q where products of one sign come in runs.

    `affine` is given where the layer reads a batch normalization x = s x' + h that may be folded into its weights:
    y = sum (w s) x' + (b + sum w h). The products and the start of that sum may be much larger than those of w x and
    b, as s x' and h may cancel. The larger variance of the two ways is taken.
    """
    terms = weights[0].size
    squares = np.square(weights) + weight_floor(weights, rounding)

    def evaluated(x: Array, biases: Array, more: Array | float) -> Array:
        source = _product_variance(terms, rounding) * np.square(x) + before
        own = _accumulated(y, biases, terms, rounding) + _wandering(terms, rounding) * more
        return fast.correlate(source, squares, node) + own

    start = biases[:, np.newaxis, np.newaxis]
    after = evaluated(x, start, excess.read)
    if affine is None:
        return after
    start = start + fast.correlate(affine.shifts, weights, node)
    return np.fmax(after, evaluated(affine.product, start, excess.product) + ROUNDING * np.square(start))


def fully_connected(
    x: Array,
    before: Array,
    y: Array,
    weights: npt.NDArray[np.floating],
    biases: Array,
    rounding: Rounding,
    affine: Affine | None = None,
    excess: Excess = NO_EXCESS,
) -> Array:
    """Variance of a fully connected layer: that of a convolution whose window is the whole tensor."""

    def evaluated(x: Array, biases: Array, more: Array | float) -> Array:
        source = _product_variance(x.size, rounding) * np.square(x) + before
        spread = fast.project(source, weights, lambda block: np.square(block) + weight_floor(block, rounding))
        return spread + _accumulated(y, biases, x.size, rounding) + _wandering(x.size, rounding) * more

    start = biases[:, np.newaxis, np.newaxis]
    after = evaluated(x, start, excess.read)
    if affine is None:
        return after
    start = start + fast.project(affine.shifts, weights)
    return np.fmax(after, evaluated(affine.product, start, excess.product) + ROUNDING * np.square(start))


def batch_norm(x: Array, before: Array, y: Array, factor: Array, means: Array, shift: Array, terms: int) -> Array:
    """Variance of x * factor + shift: factor = scale / sqrt(variance + epsilon), shift = the given one - mean * factor.

    The factor has three roundings (sum and root count half and one, division one; relative variance u^2 covers
    these), the shift is rounded, and where the two cancel their errors do not: they count relative to |x factor|,
    |mean factor| and |shift|, not to |y|. `terms` is the length of the accumulation that produced `x`, or 0: when the
    node is folded into it, the shift is where that accumulation starts.
    """
    own = U**2 * (np.square(factor) + SMALLEST_NORMAL**2) * np.square(x)
    own += ROUNDING * (np.square(y) + np.square(shift) + np.square(means * factor)) + TINY**2
    return np.square(factor) * before + own + _start(y, shift, terms)


def activation(x: Array, before: Array, node: Activation) -> Array:
    """Variance of ReLU: V times the squared slope of the branch taken, the larger one within REACH sigma of the kink.

    ReLU is continuous, so taking the other branch costs no more than its slope times the error. A slope other than 0,
    1 and -1 adds the rounding of the product.
    """
    slope = slope_of(node)
    scale = np.where(x > 0, 1.0, slope**2)
    near = np.abs(x) <= REACH * np.sqrt(before)
    scale[near] = max(1.0, slope**2)
    after = scale * before
    if abs(slope) not in (0.0, 1.0):
        after += np.where(x > 0, 0.0, ROUNDING * np.square(slope * x) + TINY**2)
    return after


def add(x1: Array, x2: Array, before: tuple[Array, Array], terms: tuple[int, int], *, correlated: bool) -> Array:
    """Variance of a sum: V1 + V2 (any correlation: (sqrt V1 + sqrt V2)^2) plus one rounding.

    `terms` are the lengths of the accumulations that produced `x1` and `x2`, or 0: the other summand may have been
    fused into either as its start.
    """
    after = before[0] + before[1]
    if correlated:
        after += 2 * np.sqrt(before[0]) * np.sqrt(before[1])
    y = x1 + x2
    return after + ROUNDING * np.square(y) + _start(y, x2, terms[0]) + _start(y, x1, terms[1])


def concat(before1: Array, before2: Array) -> Array:
    """Variance of a concatenation: nothing is computed, nothing added."""
    return np.concatenate((before1, before2))


def pooling(x: Array, before: Array, y: Array, node: Pooling) -> Array:
    """Variance of pooling.

    Maximum: |max(x + e) - max(x)| <= max |e_i| over the elements that can win, so V is the largest variance among
    those within REACH of their own and the winner's sigmas; elements far below have no say, however inaccurate they
    are.

    Average of n cells: (sum of sigmas / n)^2, valid for any correlation, as neighbouring pixels share errors: those
    of rounded weights and factors, and all errors where the image is constant. To this what `averaging` adds. That an
    average may be taken before a 1x1 convolution is not seen here: `reference.exchange`.
    """
    if node.is_max:
        return _max_pooling(x, before, node)
    sigma = np.sqrt(before)
    if node.window is None:
        sigmas = sigma.mean(axis=(1, 2), keepdims=True)
    else:
        sigmas = windows(pad(sigma, node, 0.0), node).sum(axis=(-2, -1)) / real_cells(x, node)
    return np.asarray(np.square(sigmas) + averaging(x, y, node))


def averaging(x: Array, y: Array, node: Pooling) -> Array:
    """What the average `y` of n cells of `x` adds to the variance of x.

    That is the accumulation of n terms x/n (where these repeat, see `certain_error`) and two roundings, of 1/n and of
    the product.
    """
    squares = np.square(x)
    certain: Array | float = 0.0
    if node.window is None:
        cells: Array | int = x[0].size
        certain = certain_error(x.reshape(len(x), -1)).reshape(-1, 1, 1) / cells
        sums = squares.sum(axis=(1, 2), keepdims=True)
    else:
        cells = real_cells(x, node)
        sums = windows(pad(squares, node, 0.0), node).sum(axis=(-2, -1))
    own = STEP * cells * (np.square(y) / 3 + sums / np.square(cells) / 2) + 2 * ROUNDING * np.square(y) + TINY**2
    return np.asarray(own + np.square(certain / CERTAIN))


def softmax(x: Array, before: Array, y: Array) -> Array:
    """Variance of softmax through its Jacobian dy_i/dx_j = y_i ((i = j) - y_j).

    With v_j the variance of x_j, of the rounded difference x_j - max and of the exponential (EXP_ERROR), all of them
    shifts of the exponent: V_i = y_i^2 ((1 - 2 y_i) v_i + sum over j of y_j^2 v_j), plus the accumulated sum and two
    roundings (reciprocal, product). Large errors do not act
    linearly: v is replaced by the squared (exp(REACH sigma) - 1) / REACH. Results below 2^-126 may be flushed to
    zero. V is at most 1, as is y.
    """
    difference = x - x.max(axis=0)
    sigma = np.sqrt(before + ROUNDING * np.where(y > 0, np.square(difference), 0.0))
    v = np.square(np.expm1(np.minimum(REACH * sigma, 300.0)) / REACH) + EXP_ERROR**2 / 3
    total = (np.square(y) * v).sum(axis=0)
    own = STEP * len(x) * _repeats(y, axis=0) * (1 / 3 + np.square(y).sum(axis=0) / 2) + 2 * ROUNDING
    others = np.maximum(total - np.square(y) * v, 0.0)
    after = np.square(y) * (np.square(1 - y) * v + others + own) + SMALLEST_NORMAL**2
    return np.asarray(np.minimum(after, 1.0))


def _max_pooling(x: Array, before: Array, node: Pooling) -> Array:
    """The largest variance among the elements of a window that can win."""
    highest = x + REACH * np.sqrt(before)
    lowest = x - REACH * np.sqrt(before)
    if node.window is None:
        contender = highest >= lowest.max(axis=(1, 2), keepdims=True)
        return np.asarray(np.where(contender, before, 0.0).max(axis=(1, 2), keepdims=True))
    floor = windows(pad(lowest, node, -np.inf), node).max(axis=(-2, -1), keepdims=True)
    contender = windows(pad(highest, node, -np.inf), node) >= floor
    return np.asarray(np.where(contender, windows(pad(before, node, 0.0), node), 0.0).max(axis=(-2, -1)))


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


def _product_variance(terms: int, rounding: Rounding) -> float:
    """Factor of a squared product w x: the wandering of the partial sums and the rounding of the stored weight."""
    return _wandering(terms, rounding) + rounding.weight_error**2 / 3


def _wandering(terms: int, rounding: Rounding) -> float:
    """Factor of the squared steps of the partial sums: each product, and what runs add to them."""
    return 0.5 * STEP * terms * rounding.accumulation


def weight_floor(weights: npt.NDArray[np.floating], rounding: Rounding) -> Array | float:
    """What is added to w^2 so that weights too small for their format keep their absolute error; per output channel."""
    if not rounding.weight_span:
        return rounding.weight_floor**2
    axes = tuple(range(1, weights.ndim))
    largest = np.abs(weights).max(axis=axes, keepdims=True).astype(np.float64)
    return np.asarray(rounding.weight_floor**2 + np.square(rounding.weight_span * largest))


def _accumulated(y: Array, start: Array, terms: int, rounding: Rounding) -> Array:
    """The part of an accumulation's variance that depends on where it starts and ends, and its last rounding."""
    drift = STEP * terms * rounding.accumulation * (np.square(y - start) / 3)
    return drift + _start(y, start, terms) + ROUNDING * np.square(y) + terms * TINY**2


def _start(y: Array, start: Array, terms: int) -> Array:
    """What it adds that an accumulation of `terms` products ending at `y` starts at `start` instead of 0."""
    return STEP * terms * np.maximum(start * y, 0.0)
