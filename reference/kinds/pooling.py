"""Maxima and averages over windows. Everything works from the numbers of a Pool, whatever the node calls them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from nn512.graph.nodes import Pooling
from reference import domain, samples
from reference.accumulation import REACH
from reference.evaluation import Evaluation
from reference.exchange import Linear, Role
from reference.grid import CERTAIN, certain_error
from reference.kinds.kind import Kind
from reference.residues import repeats
from reference.roundoff import ROUNDING, STEP, TINY
from reference.stepping import Stepped, Stepping, step_of
from reference.tensor import Tensor
from reference.windows import Array, Mask, Window

SHORT = 16
"""Averages of up to so many cells err by few sigma, though they may be equal."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Pooling of tensors of one size as numbers: a maximum or an average over windows of any size, stride and padding.

    count_padding: whether an average divides by the cells of a window, not only by those inside the tensor.
    whole: whether the window is the tensor.
    """

    window: Window
    is_max: bool
    count_padding: bool = False
    whole: bool = False

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights of an average sum to one in every window."""
        return not (self.count_padding and self.window.padded)

    def cells(self, x: Array) -> Array:
        """What the sum over each window of `x` is divided by for an average, 1 x OH x OW."""
        if self.whole or self.count_padding:
            shape = (1, *self.window.result_size(x))
            return np.full(shape, float(self.window.height * self.window.width))
        return self.window.real_cells(x)

    def most_cells(self, x: Array) -> int:
        """The cells of a window that is whole."""
        return math.prod(x.shape[-2:]) if self.whole else self.window.height * self.window.width

    def maximum(self, x: Array) -> Array:
        """The maximum of each window; cells of the padding take no part."""
        if self.whole:
            return np.asarray(x.max(axis=(1, 2), keepdims=True))
        return np.asarray(self.window.taps(x, -np.inf).max(axis=(-2, -1)))

    def total(self, x: Array) -> Array:
        """The sum of each window."""
        if self.whole:
            return np.asarray(x.sum(axis=(1, 2), keepdims=True))
        return np.asarray(self.window.taps(x).sum(axis=(-2, -1)))

    def average(self, x: Array) -> Array:
        """The sum of each window over its cells."""
        if self.whole:
            return np.asarray(x.mean(axis=(1, 2), keepdims=True))
        return self.total(x) / self.cells(x)

    def any(self, mask: Mask) -> Mask:
        """Windows with a True."""
        if self.whole:
            return np.asarray(mask.any(axis=(1, 2), keepdims=True))
        return np.asarray(self.window.taps(mask, fill=False).any(axis=(-2, -1)))

    def of(self, x: Array) -> Array:
        """The maximum or the average."""
        return self.maximum(x) if self.is_max else self.average(x)


def pool_of(node: Pooling, x: Array) -> Pool:
    """What a node does to tensors of the size of `x`."""
    if node.is_global:
        return Pool(Window(*x.shape[-2:]), node.is_max, whole=True)
    sides = (node.padding_top, node.padding_bottom, node.padding_left, node.padding_right)
    window = Window(node.window_h, node.window_w, node.stride_h, node.stride_w, 1, 1, *sides)
    return Pool(window, node.is_max, count_padding=bool(node.count_padding))


def value(x: Array, node: Pooling) -> Array:
    """Maximum or average over windows, channel by channel.

    Windows have any size and stride, or are the whole tensor (the result is then C x 1 x 1). Otherwise the result has
    height floor((H + PT + PB - WH) / SH) + 1, likewise the width. Cells of the padding take no part: the maximum
    ignores them and the average divides by the number of real cells; with CountPadding it divides by WH WW, as if they
    were zeros. The padding of each side is smaller than the window, so every window has a real cell:

        y[c,p,q] = max or mean over i < WH, j < WW of x[c, p*SH + i - PT, q*SW + j - PL], where that is a cell of x

    NaN in a window makes the maximum NaN. The maximum of -inf alone is -inf. An average is NaN where a window holds NaN
    or both infinities, and infinite where it holds one of them. To take an average before the 1x1 convolution whose
    result it reads, and before batch normalization behind that, is legal if the weights of all its windows sum to one:
    unless padding is counted.
    """
    return pool_of(node, x).of(x)


def variance(x: Array, before: Array, y: Array, pool: Pool) -> Array:
    """Variance of pooling.

    Maximum: |max(x + e) - max(x)| <= max |e_i| over the elements that can win, so V is the largest variance among
    those within REACH of their own and the winner's sigmas; elements far below have no say, however inaccurate they
    are.

    Average of n cells: (sum of sigmas / n)^2, valid for any correlation, as neighbouring pixels share errors: those
    of rounded weights and factors, and all errors where the image is constant. To this what `averaging` adds. That an
    average may be taken before a 1x1 convolution is not seen here: `reference.exchange`.
    """
    if pool.is_max:
        return _variance_of_maximum(x, before, pool)
    return np.asarray(np.square(pool.average(np.sqrt(before))) + averaging(x, y, pool))


def averaging(x: Array, y: Array, pool: Pool) -> Array:
    """What the average `y` of n cells of `x` adds to the variance of x.

    That is the accumulation of n terms x/n (where these repeat, see `certain_error`) and two roundings, of 1/n and of
    the product.
    """
    cells, sums = pool.cells(x), pool.total(np.square(x))
    own = STEP * cells * (np.square(y) / 3 + sums / np.square(cells) / 2) + 2 * ROUNDING * np.square(y) + TINY**2
    return np.asarray(own + np.square(_dependent(x, pool) / CERTAIN))


def _dependent(x: Array, pool: Pool) -> Array:
    """Bound on what averages of `x` err by from roundings that are not independent."""
    cells = pool.cells(x)
    if pool.whole:
        return np.asarray(certain_error(x.reshape(len(x), -1)).reshape(-1, 1, 1) / cells)
    if pool.most_cells(x) <= SHORT:
        return np.zeros((1, 1, 1))
    taps = pool.window.taps(x)
    return np.asarray(certain_error(taps.reshape(*taps.shape[:3], -1)) / cells)


def unspecified(x: Array, before: Mask, pool: Pool) -> Mask:
    """Windows with an unspecified cell, and averages whose sum overflows."""
    if pool.is_max:
        return pool.any(before)
    cells = pool.window.height * pool.window.width
    return pool.any(before | (domain.finite_magnitude(x) > domain.SAFE / cells))


class PoolingKind(Kind[Pooling]):
    """Pooling: see `value`."""

    node = Pooling

    def evaluate(self, at: Evaluation[Pooling]) -> Tensor:
        """See `Kind`."""
        (x,) = at.reads
        pool = pool_of(at.layer, x.value)
        y = pool.of(x.value)
        derived = variance(x.value, x.derived, y, pool)
        errors = _errors(x.value, x.errors, y, pool)
        mask = unspecified(x.value, x.unspecified, pool)
        if pool.is_max:
            return at.finish(y, derived, (errors, np.zeros_like(derived)), mask)
        if repeats(x.value, pool.most_cells(x.value)) is not None:
            # Averages of the same few values are rounded to the same side, though they differ.
            errors += at.sampler.common(np.broadcast_to(_dependent(x.value, pool) / CERTAIN, y.shape))
        # What pixels have in common was derived, not sampled: the samples are made up to it here.
        own = np.maximum(derived - samples.mean_square(errors), 0.0)
        if x.linear is None or not pool.sums_to_one:
            return at.finish(y, derived, (errors, own), mask)
        source = self._average(at, x.linear.source, pool)
        other = x.linear.of(source)
        derived = np.fmax(derived, other.derived)
        errors += _errors_of_averaging(at, x.linear, pool)
        own = np.maximum(own, derived - samples.mean_square(errors))
        peak = max(domain.peak(y), other.peak)
        done = at.finish(y, derived, (errors, own), mask | other.unspecified, terms=x.terms, peak=peak)
        return replace(done, linear=Linear(source, x.linear.of, x.linear.response))

    def _average(self, at: Evaluation[Pooling], source: Tensor, pool: Pool) -> Tensor:
        """The average of what a linear layer reads, for that layer to read; without samples.

        Where the layer would have read a batch norm that may be folded into it, the average may be one of what that
        reads.
        """
        done = self.evaluate(at.on(replace(source, errors=at.sampler.without_samples.none(source.value.shape))))
        affine = source.affine
        if affine is None:
            return done
        more = _own_of_average(source, pool) - averaging(source.value, done.value, pool)
        mask = done.unspecified | unspecified(affine.value, source.unspecified, pool)
        return replace(
            done,
            result=replace(done.result, unspecified=mask),
            derived=done.derived + np.where(np.isfinite(more), more, 0.0),
            affine=replace(affine, value=pool.of(affine.value)),
        )

    def step(self, at: Stepping[Pooling]) -> Stepped:
        """See `Kind`.

        A maximum of exact elements is exact; an average if their number is a power of two and the sum is exact.
        """
        (x,) = at.reads
        pool = pool_of(at.layer, x.value)
        if pool.is_max:
            return Stepped.leaf(pool.maximum(x.value), ~pool.any(~x.exact))
        done = _stepped_average(x, pool, at.limit)
        if x.linear is None or not pool.sums_to_one:
            return done
        source = _stepped_source(x.linear.source, self.step(at.on(x.linear.source)), pool, at.limit)
        other = x.linear.of(source)
        return replace(
            done,
            exact=done.exact & other.exact,
            bound=np.maximum(done.bound, other.bound),
            step=min(done.step, other.step),
            narrow=other.narrow,
            linear=Linear(source, x.linear.of, np.positive),
        )

    def role(self, layer: Pooling) -> Role:
        """See `Kind`."""
        uneven = layer.count_padding and layer.is_padded
        return Role.NONE if layer.is_max or uneven else Role.AVERAGE


def _variance_of_maximum(x: Array, before: Array, pool: Pool) -> Array:
    """The largest variance among the elements of a window that can win."""
    highest = x + REACH * np.sqrt(before)
    lowest = x - REACH * np.sqrt(before)
    if pool.whole:
        contender = highest >= lowest.max(axis=(1, 2), keepdims=True)
        return np.asarray(np.where(contender, before, 0.0).max(axis=(1, 2), keepdims=True))
    floor = pool.maximum(lowest)[..., np.newaxis, np.newaxis]
    contender = pool.window.taps(highest, -np.inf) >= floor
    return np.asarray(np.where(contender, pool.window.taps(before), 0.0).max(axis=(-2, -1)))


def _errors(x: Array, errors: Array, y: Array, pool: Pool) -> Array:
    """Samples of the errors after pooling."""

    def pooled(several: Array) -> Array:
        flat = pool.of(several.reshape(-1, *several.shape[2:]))
        return flat.reshape(*several.shape[:2], *flat.shape[1:])

    return samples.difference(pooled, x, errors, y) if pool.is_max else pooled(errors)


def _errors_of_averaging(at: Evaluation[Pooling], linear: Linear[Tensor], pool: Pool) -> Array:
    """Samples of what it adds to the errors of an average that what led there is done after it.

    Errors of few channels may so become those of many. All others are there in the first order, too.
    """
    source = linear.source
    average = pool.of(source.value)
    errors = at.sampler.none(average.shape)
    if not at.sampler.count:
        return linear.response(errors)
    own = _own_of_average(source, pool)
    at.sampler.add_own(errors, np.where(np.isfinite(own), own, 0.0), average)
    if source.linear is not None:
        errors += _errors_of_averaging(at, source.linear, pool)
    return linear.response(errors)


def _own_of_average(source: Tensor, pool: Pool) -> Array:
    """Variance that averaging adds, of the tensor or of what a batch norm made it from: the larger one."""
    own = averaging(source.value, pool.of(source.value), pool)
    affine = source.affine
    if affine is None:
        return own
    before = averaging(affine.value, pool.of(affine.value), pool)
    return np.fmax(own, np.square(affine.factor) * before)


def _stepped_average(x: Stepped, pool: Pool, limit: float) -> Stepped:
    """The average of a tensor, as it stands."""
    cells = pool.cells(x.value)
    total = pool.average(np.abs(x.value)) * cells
    halving = np.frexp(cells)[0] == 0.5
    exact = ~pool.any(~x.exact) & halving & (total <= np.ldexp(limit, step_of(x.value[x.exact])))
    return Stepped.leaf(pool.average(x.value), exact)


def _stepped_source(x: Stepped, done: Stepped, pool: Pool, limit: float) -> Stepped:
    """The average `done` of what a linear layer reads, for that layer to read.

    Where that is a batch norm which may be folded into the layer, the average may be one of what the batch norm reads:
    its terms must have room, too, and what it adds up is averaged with it.
    """
    if x.apart is None:
        return done
    sizes, step = x.apart
    cells, means = pool.cells(x.value), pool.average(sizes)
    fits = means * cells <= np.ldexp(limit, step)
    return replace(done, exact=done.exact & fits, apart=(means, step + 1 - int(np.frexp(cells)[1].max())))
