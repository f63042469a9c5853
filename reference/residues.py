"""Roundings that are not independent: what equal terms do to a sum, and equal stored weights to a layer.

A partial sum s in the binade of 2^e is a multiple of g = 2^(e-23), and so is s + p after its rounding. The error of
adding p is therefore a function of p and e alone, whatever s and the order of the sum are:

    d(p) = g rint(p / g) - p,    |d| <= g / 2.

(A tie is no exception: s stays even, so the half falls as `rint` lets it.) Products all over the place have residues
all over -g/2..g/2, and the sum of K of them walks at random: that is the model of `reference.accumulation`. But m equal
products have m times one residue. So the residues themselves are summed. Per exponent e, with the largest partial sum
of a filter and three binades below it,

    B = max over e, and over sums by channels and by taps, of the sum over lines of |sum over the line's products of d|

bounds the error where terms repeat: lines are blocks of neighbouring products (see `reference.lines`), so that sorted
terms, which pass through different binades, cannot cancel in B though they do not in the sum. Equal terms pass through
the binades in proportion to their widths, so that the error is B times 2/3 at most in the upper ones. B is capped at
K u times the largest partial sum, the bound on running errors of any order.

Products repeat where both factors do. So only tensors are looked at of which a few values (to within K 2^-24, or the
residues differ) make up the cells: MOST of them, each a 32nd of a sample at least. For value v the residues of w v are
weights of their own, and what they come to is a convolution of the cells that hold v: a matrix product again. Cells of
other tensors need a look at 512 of them, 0.03 ms.

* A batch norm that reads the layer may have been folded into its weights and biases: then p times its factor is
  added, from another start and with other residues. All batch norms that can be folded are tried.
* Weights stored in fp16 have known errors, too: e = stored(w) - w, again with the batch norm's factor or without.
  What they come to is the convolution with e: a walk for random weights, which the variance allows for, but e times
  the sum of the inputs for equal ones.

An error that is certain to stay below B is not random: it counts as CERTAIN sigma, so that B / CERTAIN joins the
standard deviation.

Elements of the same products err alike although their values differ, so that later sums add their errors up. Which
sign an element errs with depends on the binades that its sums pass through, and on the lines that do: the error is a
mixture, sum over e and lines of f D with D the sum of the line's residues and f >= 0 the share of them that is rounded
in the binade of 2^e. The shares over all e add up to 1 and are about the same for all elements. So samples of the error
have a random sign for each e, and one for each e and line, times D / CERTAIN: a later sum of them has at least the
root mean square of its largest sum over elements of one e. The sign of the largest residue alone, as D of one binade
often has the sign opposite to that of the next, gave a chain of four layers behind 1x1x35 with sorted weights 13.2
sigma and an rms of 6.1; mixtures give it 4.0 and 2.5.

Measured on emitted C in sigma (limits: 12, and 6 for the rms of an output), weights 0.1; the last two rows are six
layers 3x3x128 and one 1x1x128, then 1x1x8, a batch norm, 3x3x512:

                                     independent      with residues
                                     max      rms      max      rms
    1x1x512, inputs 1               12.5     12.0      1.4      1.4
    1x1x2048, inputs 1              24.4     23.5      1.3      1.3
    3x3x2048, inputs 1              76.8     59.1      3.4      2.7
    fully connected 2048, fp16      39.0     37.4      4.3      4.3
    chain, inputs 1                 29.0     15.6      0.8      0.5
    chain, positive inputs          52.0     24.5      7.2      3.0
    chain behind 8 channels, same   27.7     14.3      1.3      0.8

One of 2,048 equal taps dropped gives 40 and more, of 4,096 it is still found; of 18,432 it is less than what correct
code errs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference import fast
from reference.alike import with_signs
from reference.grid import BINADES, CERTAIN, grid_of
from reference.lines import as_convolutions, columns_of, orders_of
from reference.rounding import Rounding
from reference.roundoff import STEP, U
from reference.samples import Sampler
from reference.windows import Array, Window

MOST = 8
"""Values of a tensor that are looked at one by one."""

LINES = 8
"""Lines in which residues are summed."""

SHORT = 16
"""Sums of up to so many products err by less than 2 sqrt(SHORT) = 8 sigma, dependent or not."""

_SAMPLE = 512
"""Cells that are looked at to see whether a tensor repeats itself."""

_TAPS = 64
"""Taps of each filter that are looked at."""

_SAME = 2.0**-20
"""Relative distance of numbers that the sums of other orders may have made of the same."""

ROUNDS = 8
"""Samples of how many products are equal."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A way to evaluate a layer: its weights times `factor`, its sums from `start`; per output channel."""

    factor: Array
    start: Array

    @classmethod
    def plain(cls, start: Array) -> Folded:
        """The layer as it stands."""
        return cls(np.ones_like(start), start)

    def of(self, rows: slice) -> Folded:
        """The same of some output channels."""
        return Folded(self.factor[rows], self.start[rows])


@dataclass(frozen=True, slots=True)
class Repeats:
    """Cells of a tensor that hold one of a few values.

    values: their magnitudes.
    labels: per cell 1 + the index of its value, negative where the cell is, 0 where it holds another value.
    """

    values: Array
    labels: Array


def repeats(x: Array, terms: int) -> Repeats | None:
    """The values that repeat in `x`, to the precision that a sum of `terms` products needs; None if none do."""
    sample = _sample(x)[0]
    sample = sample[np.isfinite(sample) & (sample > 0)]
    if terms <= SHORT or not sample.size:
        return None
    width = min(terms, 1 << 16) * U / np.log(2)
    sample.sort()
    keys = np.rint(np.log2(sample) / width)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    counts = np.diff(starts, append=len(keys))
    often = np.argsort(-counts, kind="stable")[:MOST]
    often = often[32 * counts[often] >= len(sample)]
    if not often.size or counts[often[0]] == 1 < x.size:
        return None
    labels = np.zeros(x.shape)
    with np.errstate(divide="ignore"):
        cells = np.rint(np.log2(np.abs(x)) / width)
    for number, index in enumerate(often, start=1):
        labels[cells == keys[starts[index]]] = number
    return Repeats(sample[starts[often] + counts[often] // 2], np.copysign(labels, x))


class Dependent(NamedTuple):
    """What roundings that are not independent do to outputs.

    bound: B, which their error is certain to stay below, K x OH x OW.
    errors: samples of the mixtures that the error may be, K x S x OH x OW, of the size of B.
    """

    bound: Array
    errors: Array


@dataclass(frozen=True, slots=True)
class _Signs:
    """Random signs of the samples for what is rounded in a binade, the same for all filters of a layer."""

    seed: int
    count: int

    def of(self, way: int, exponents: npt.NDArray[np.int64]) -> Array:
        """For grids of 2^exponents, K: K x S x (1 + 2 LINES), a sign for all lines and one for each of both orders."""
        different, at = np.unique(exponents, return_inverse=True)
        size = (self.count, 1 + 2 * LINES)
        drawn = [np.random.default_rng((self.seed, way, 2000 + int(e))).integers(0, 2, size) for e in different]
        return np.asarray(np.stack(drawn)[at], np.float64) * 2 - 1


def conv(
    x: Array, weights: Array, window: Window, climb: Array, ways: Sequence[Folded], sampler: Sampler
) -> Dependent | None:
    """The bound B on a convolution's error from dependent roundings, and samples of it; None where terms differ.

    `climb` are the largest partial sums of each output, without what they start at.
    """
    found = repeats(x, weights[0].size)
    return None if found is None else _conv(found, weights, window, climb, ways, _signs(sampler))


def fully_connected(
    x: Array, weights: npt.NDArray[np.floating], climb: Array, ways: Sequence[Folded], sampler: Sampler
) -> Dependent | None:
    """The same of a fully connected layer."""
    found = repeats(x, x.size)
    if found is None:
        return None
    signs, parts, first = _signs(sampler), [], 0
    for block, window in as_convolutions(x, weights):
        rows = slice(first, first + len(block))
        some = [way.of(rows) for way in ways]
        parts.append(_conv(found, block, window, climb[rows], some, signs))
        first += len(block)
    return Dependent(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _signs(sampler: Sampler) -> _Signs:
    return _Signs(int(sampler.generator.integers(1 << 62)), sampler.count)


def _conv(
    found: Repeats, weights: Array, window: Window, climb: Array, ways: Sequence[Folded], signs: _Signs
) -> Dependent:
    size = window.result_size(found.labels)
    done = Dependent(np.zeros((len(weights), *size)), np.zeros((len(weights), signs.count, *size)))
    highest = climb.max(axis=(1, 2))
    if (
        len(ways) == 1
        and _whole(found.values)
        and _whole(weights)
        and (highest + np.abs(ways[0].start)).max() < 2.0**24
    ):
        return done  # sums of integers make no errors
    for number, way in enumerate(ways):
        factor = np.abs(way.factor)
        largest = factor * highest + np.abs(way.start)
        usable = (factor > 0) & np.isfinite(largest) & (largest > 0)
        grid = grid_of(np.where(usable, largest, 1.0))
        factor = np.where(usable, factor, 0.0)
        start = np.where(usable, np.abs(way.start) / np.where(usable, factor, 1.0), 0.0)
        cap = weights[0].size * U * (climb + start[:, np.newaxis, np.newaxis])
        for level in range(BINADES):
            spacing = (np.ldexp(grid, -level) / np.where(usable, factor, 1.0)).reshape(-1, 1, 1, 1)
            residues = [np.rint(p / spacing) * spacing - p for p in (weights * value for value in found.values)]
            residues = [np.where(usable.reshape(-1, 1, 1, 1), d, 0.0) for d in residues]
            if not any(d.any() for d in residues):
                break  # what is a multiple of this grid is one of finer ones
            exponents = np.log2(grid).astype(np.int64) - level
            _add_sums(done, found, residues, window, cap, signs.of(number, exponents))
    return done


def _add_sums(done: Dependent, found: Repeats, residues: list[Array], window: Window, cap: Array, signs: Array) -> None:
    """Put what residues of one binade come to into `done`: the sum over lines of the magnitudes of each line's sum.

    The larger one of the orders is the bound. It is `cap` at most, and what is cut off is no part of samples either.
    """
    orders = [orders_of(d, len(found.labels) // d.shape[1], LINES) for d in residues]
    filters, samples = signs.shape[:2]
    bound, errors, caps = (a.reshape(*a.shape[:-2], cap[0].size) for a in (*done, cap))
    first = 0
    for columns in columns_of(found.labels, residues[0], window, LINES):
        pixels = slice(first, first + columns.shape[-1])
        first = pixels.stop
        best, sampled = np.zeros((filters, columns.shape[-1])), np.zeros((filters, samples, columns.shape[-1]))
        cells = [(columns == number).astype(np.float64) - (columns == -number) for number in range(1, len(orders) + 1)]
        for number, alike in enumerate(zip(*orders, strict=True)):
            steps = sum(order.steps(of_value) for order, of_value in zip(alike, cells, strict=True))
            steps = np.asarray(steps).reshape(-1, *best.shape)
            np.maximum(best, np.abs(steps).sum(axis=0), out=best)
            mixture = signs[:, :, 1 + number * LINES :][:, :, : len(steps)]
            if number == 0:  # all lines, in whatever order, make the same sum
                mixture = mixture + signs[:, :, :1]
            if samples:
                sampled += mixture @ steps.swapaxes(0, 1)
        kept = np.minimum(best, caps[:, pixels])
        if samples:
            errors[:, :, pixels] += sampled * (kept / np.where(best > 0, best, 1.0))[:, np.newaxis]
        np.maximum(bound[:, pixels], kept, out=bound[:, pixels])


def crowd(x: Array, weights: Array, window: Window, largest: Array) -> Array | None:
    """Variance that products add of which many are equal, though not of few values; None where they are not.

    Where the channels of a tensor are alike but its pixels are not, a window holds each value as often as there are
    channels. With n products of each kind, whose residues are independent, the K u^2 of the model becomes u^2 N, N the
    sum of n^2, up to the square of what is certain: K u times the largest partial sum, whose mean square is a third.

    N is measured as the samples measure errors: with a random sign for each kind of factor, odd in its sign, the mean
    square of the sum of products of signs over ROUNDS rounds. Cells that `conv` looks at are left out. It is worth it
    only where cells and taps repeat, which a sample of each tells.
    """
    terms = weights[0].size
    rows = weights.reshape(len(weights), -1)[:, :: (terms // _TAPS) | 1]
    if terms <= SHORT or not (_crowded(_sample(x)) and _crowded(rows)):
        return None
    found = repeats(x, terms)
    if found is not None:
        x = np.where(found.labels == 0, x, 0.0)
        if not _crowded(_sample(x)):
            return None
    multipliers = np.random.default_rng(terms).integers(0, 1 << 32, (2, ROUNDS), np.uint32) | np.uint32(1)
    total = np.zeros((len(weights), *window.result_size(x)))
    flat = weights.reshape(len(weights), 1, -1)
    for of_cell, of_tap in multipliers.T:
        cells = with_signs(np.sign(np.abs(x)), x, np.array([of_cell]))[:, 0]
        taps = with_signs(np.sign(np.abs(flat)), flat, np.array([of_tap])).astype(np.float64).reshape(weights.shape)
        total += np.square(fast.correlate(cells.astype(np.float64), taps, window))
    more = np.minimum(STEP * np.maximum(total / ROUNDS - terms, 0.0), (terms * U / CERTAIN) ** 2)
    return np.asarray(more * np.square(largest) / 3)


def crowd_in_rows(x: Array, weights: npt.NDArray[np.floating], largest: Array) -> Array | None:
    """The same of a fully connected layer."""
    if not _crowded(_sample(x)):
        return None
    parts, first = [], 0
    for block, window in as_convolutions(x, weights):
        size = largest[first : first + len(block)]
        part = crowd(x, block, window, size)
        parts.append(np.zeros_like(size) if part is None else part)
        first += len(block)
    return np.concatenate(parts)


def repetitive(weights: npt.NDArray[np.floating]) -> bool:
    """Whether many weights of a layer are equal."""
    return _crowded(_sample(weights))


def _sample(x: npt.NDArray[np.floating]) -> Array:
    """The magnitudes of some cells, a single row.

    Their distance has no factor in common with the cells of a channel, so that they are not the same few of each.
    """
    distance = (x.size // _SAMPLE) | 1
    while math.gcd(distance, math.prod(x.shape[1:])) > 1:
        distance += 2
    return np.abs(x.reshape(1, -1)[:, ::distance].astype(np.float64))


def _crowded(rows: npt.NDArray[np.floating]) -> bool:
    """Whether a row has more equal magnitudes than chance allows for."""
    ordered = np.sort(np.abs(rows).astype(np.float32), axis=1)
    same = (ordered[:, 1:] - ordered[:, :-1] <= ordered[:, 1:] * _SAME) & (ordered[:, :-1] > 0)
    return bool((same.sum(axis=1) > ordered.shape[1] // 32 + 1).any())


def stored_weights(x: Array, weights: Array, window: Window, rounding: Rounding, ways: Sequence[Folded]) -> Array:
    """What the rounding of stored weights does to a convolution, the largest of the ways, with its sign."""
    worst = np.zeros((len(weights), *window.result_size(x)))
    for way in ways:
        factor = np.where(way.factor == 0, 1.0, way.factor).reshape(-1, 1, 1, 1)
        _take_larger(worst, fast.correlate(x, stored(weights * factor, rounding) / factor - weights, window))
    return worst


def stored_in_rows(x: Array, weights: npt.NDArray[np.floating], rounding: Rounding, ways: Sequence[Folded]) -> Array:
    """The same of a fully connected layer."""
    parts, first = [], 0
    for block, window in as_convolutions(x, weights):
        some = [way.of(slice(first, first + len(block))) for way in ways]
        parts.append(stored_weights(x, block, window, rounding, some))
        first += len(block)
    return np.concatenate(parts)


def stored(weights: Array, rounding: Rounding) -> Array:
    """Weights rounded to the bits of the format in `rounding`, by Veltkamp's splitting; no exponent is too small."""
    scaled = weights * (2.0 ** (53 - rounding.weight_bits) + 1.0)
    rest = scaled - weights
    return np.subtract(scaled, rest, out=scaled)


def _whole(values: Array) -> bool:
    return bool((values == np.rint(values)).all())


def _take_larger(worst: Array, other: Array) -> None:
    """Put what is larger in magnitude into `worst`."""
    np.copyto(worst, other, where=np.abs(other) > np.abs(worst))
