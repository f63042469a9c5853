"""Convolutions that are computed tile by tile: how far their float32 evaluation strays, by the algorithm as it runs.

A tile sees inputs outside an output's window, so no limit in terms of the output's own products is valid. What errs is
followed instead (V are transformed inputs, W transformed weights, M sums over C channels at P positions, all of them
real numbers; complex ones are two):

* transforming inputs: the variance of V, by `reference.tiles`; what an error of V does to M is W^2 applied to it;
* rounding V to bfloat16, where the layer multiplies pairs of these: the value of the layer is that of rounded V, and W
  where no batch norm may be folded in; what is left are the errors of those that may be rounded to either of two
  numbers (see `reference.bfloat16`);
* storing W: weight_error^2/3 times W^2, relative to the largest weight of a filter and position where those are scaled;
* accumulating: M at each position is a sum of C products, so that all of `reference.accumulation` holds for a 1x1
  convolution in P groups, and so do its runs, its residues and its crowds (`runs`, `residues`);
* transforming back: what independent errors of M do to the outputs of the tile, and the roundings on the way;
* the bias: a last sum.

All of these grow with the numbers that are really there, which are what is read and its errors: where a tile sees
nothing but errors, as behind another layer of tiles, outputs that do not see these err by roundings of them.

Errors of the outputs of a tile have those of the positions in common, outputs of all filters the errors of V, and
outputs of all tiles those of W. The samples show that: they are drawn where errors arise, at V, W and M, and take the
way that errors take. What the layer reads errs by goes through the same transforms, in fewer operations than through
the filters. A sample has the sign that belongs to the number, so that equal tiles err alike (see `reference.alike`).

What this comes to, against float32 emulations of the algorithms themselves (numpy, operation by operation), in sigma:
1 to 256 channels, stored in fp32 and in fp16, on Gaussian data, positive ones, positive ones with filters of either
sign, data around 100 with filters that cancel, and data of 1e5 with weights of 1e-6:

                                                         rms of an output     largest error
    F(2x2), F(3x3), F(4x4), F(5x5), F(2x4) of 3x3              0.15 .. 0.96               3.3
    F(2x2), F(4x4) of 5x5; F(1x4) of 1x3; F(2x1) of 7x1        0.19 .. 1.00               3.8
    F(6x6) of 3x3                                              0.22 .. 0.77               2.7
    Fourier 8x8 and 16x16, stride 1 and 2, groups; 1x64        0.38 .. 1.03               3.9
    all of these on equal, repeated and sorted terms           0.05 .. 4.48               6.8
    sums of the outputs of all filters, and averages of pixels                            5.7

A dropped tap gives 10^2 to 10^7; 12 and more in fp16, where storing all the others errs nearly as much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reference import bfloat16, residues, runs, samples, shares
from reference.accumulation import REACH, wandering, weight_floor
from reference.alike import with_signs
from reference.grid import CERTAIN
from reference.lifting import NOISE
from reference.residues import Dependent, Folded
from reference.rounding import Rounding
from reference.roundoff import ROUNDING, SMALLEST_NORMAL, STEP, TINY
from reference.runs import Walk
from reference.samples import Sampler
from reference.tiles import Tiles
from reference.tiling import Grid
from reference.windows import Array, Window

BLOCK = 1 << 23
"""Elements of the largest temporary array (64 MiB of float64), as far as a single row of tiles allows."""

SEVERAL = 4.0
"""Variance of an error that may be nearly its bound, as one of many, in squares of what counts as CERTAIN sigma alone.

An error that is anything up to two thirds of its bound (see `reference.residues`) has a standard deviation of 0.38 of
it; CERTAIN sigma for the bound of each made the largest of 1,768 sums of 24 of them 8.4 sigma, and this 4.2."""

POINTWISE = Window(1, 1)
"""Sums over channels alone."""

RATHER_LARGE = 4.0
"""Square of an error, in variances, that is added to the square of what is read before roundings of it are modelled."""


@dataclass(frozen=True, slots=True)
class Own:
    """The errors of a layer that is computed tile by tile, K x OH x OW and K x S x OH x OW.

    variance: of all the errors that are its own. left: of those that outputs do not have in common.
    errors: samples of the others, with what the errors of its operand come to.
    """

    variance: Array
    left: Array
    errors: Array


@dataclass(frozen=True, slots=True)
class Products:
    """The products of a layer at P positions, in G groups; parts of complex numbers count as channels.

    weights: transformed, P x G x K/G x C/G, and rounded where it is known to what. squares: those of the weights, with
        what small ones count at least.
    stored_variance: of what weights are off as they are stored.
    open_variance: the variance of weights near the middle between two bfloat16, which may be rounded to either.
    """

    tiles: Tiles
    grid: Grid
    parts: int
    weights: Array
    squares: Array
    stored_variance: Array
    open_variance: Array | None

    @classmethod
    def of(cls, weights: Array, groups: int, grid: Grid, rounding: Rounding) -> Products:
        """Those of a convolution with these weights, K x C/G x FH x FW."""
        assert rounding.tiles is not None
        filters = grid.filters(weights)
        transformed = rounding.tiles.weights(filters)
        positions, parts = transformed.shape[:2]
        split = transformed.reshape(positions, parts, parts, groups, -1, filters.shape[3]).transpose(0, 3, 1, 4, 2, 5)
        shape = positions, groups, parts * split.shape[3], parts * split.shape[5]
        matrices = split.reshape(shape)
        rows = matrices.reshape(-1, shape[3], 1, 1)
        squares = np.square(rows) + weight_floor(rows, rounding)
        variance, open_variance = rounding.weight_error**2 / 3 * squares, None
        if rounding.weights_bfloat16:
            largest = np.abs(rows).max(axis=1, keepdims=True)
            of_rows = bfloat16.flips(rows, np.square(NOISE / REACH * largest))
            matrices = bfloat16.rounded(matrices)
            if of_rows.any():
                variance, open_variance = variance + of_rows, of_rows.reshape(shape)
        return cls(
            rounding.tiles, grid, parts, matrices, squares.reshape(shape), variance.reshape(shape), open_variance
        )

    def row_blocks(self, channels: int, filters: int, samples: int = 1) -> Iterator[tuple[int, int]]:
        """Rows of tiles whose arrays, with so many samples, fit into BLOCK: the first ones, and how many."""
        size = max(1, samples) * max(channels, filters) * len(self.weights) * self.parts * self.grid.columns.count
        rows = max(1, BLOCK // size)
        for first in range(0, self.grid.rows.count, rows):
            yield first, min(rows, self.grid.rows.count - first)

    @property
    def stored_errors(self) -> Array:
        """What weights may be off as they are stored, each with a sign that belongs to the weight."""
        rows = self.as_convolution[..., 0]
        signed = with_signs(np.ones_like(rows), rows, np.ones(1, np.uint32)).reshape(self.weights.shape)
        return np.copysign(np.sqrt(self.stored_variance), signed)

    @property
    def terms(self) -> int:
        """Products of a sum."""
        return int(self.weights.shape[3])

    @property
    def as_convolution(self) -> Array:
        """The weights of the same sums as a 1x1 convolution in P G groups."""
        return self.weights.reshape(-1, self.terms, 1, 1)

    def transform(self, cells: Array) -> Array:
        """What tiles see, transformed and in groups: P x G x C/G x ..."""
        return self.grouped(self.tiles.inputs(cells))

    def grouped(self, transformed: Array) -> Array:
        """Transformed inputs, P x parts x C x ..., as the weights want them."""
        positions, groups = self.weights.shape[:2]
        split = transformed.reshape(positions, self.parts, groups, -1, *transformed.shape[3:]).swapaxes(1, 2)
        return split.reshape(positions, groups, -1, *transformed.shape[3:])

    def ungrouped(self, sums: Array) -> Array:
        """Sums, P x G x K/G x ..., as the way back wants them: P x parts x K x ..."""
        positions, groups = self.weights.shape[:2]
        filters = sums.shape[2] // self.parts  # there may be no samples, and then nothing to find it out from
        split = sums.reshape(positions, groups, self.parts, filters, *sums.shape[3:]).swapaxes(1, 2)
        return split.reshape(positions, self.parts, groups * filters, *sums.shape[3:])


def rounded_sums(x: Array, weights: Array, window: Window, size: tuple[int, int], rounding: Rounding) -> Array:
    """The convolution without biases, of transformed inputs that are rounded to bfloat16, and weights if known so."""
    assert rounding.tiles is not None
    grid = Grid.of(rounding.tiles, window, size)
    products = Products.of(weights, len(x) // weights.shape[1], grid, rounding)
    parts = []
    for first, count in products.row_blocks(len(x), len(weights)):
        cells = grid.cells(x[:, np.newaxis], first, count)[..., 0, :]
        sums = products.weights @ bfloat16.rounded(products.transform(cells))
        results = rounding.tiles.results(products.ungrouped(sums))
        parts.append(results.reshape(len(results), len(weights), 1, -1))
    return grid.whole(parts)[:, 0]


def own_errors(
    x: Array,
    errors: Array,
    unseen: Array,
    weights: Array,
    window: Window,
    size: tuple[int, int],
    rounding: Rounding,
    sampler: Sampler,
    ways: Sequence[Folded],
) -> Own:
    """The errors of a convolution of `x`, whose results have the height and width `size`, before its bias is added.

    `errors` are samples of those of `x`, `unseen` the variance that these do not show: behind a kink, the samples of an
    element may all be 0. `ways` are how the layer may be evaluated.
    """
    assert rounding.tiles is not None
    grid = Grid.of(rounding.tiles, window, size)
    products = Products.of(weights, len(x) // weights.shape[1], grid, rounding)
    alike = residues.repetitive(weights)
    repeated = residues.repeats(x, products.terms) is not None or residues.repetitive(x)
    parts = []
    for first, count in products.row_blocks(len(x), len(weights), sampler.count):
        block = _Block(
            products,
            grid.cells(x[:, np.newaxis], first, count)[..., 0, :],
            grid.cells(errors, first, count) if errors.any() else None,
            grid.cells(unseen[:, np.newaxis], first, count)[..., 0, :],
            rounding,
            sampler,
            ways,
            repeated,
            alike,
        )
        parts.append(block.errors())
    variance, left, sampled = (grid.whole(arrays) for arrays in zip(*parts, strict=True))
    return Own(variance[:, 0], left[:, 0], sampled)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some rows of tiles: what they see, samples of the errors of that, and the variance that these do not show.

    repeated, alike: whether cells of the operand repeat, so that roundings may depend on each other, and whether
    weights do, so that results may have products in common.
    """

    products: Products
    cells: Array
    before: Array | None
    unseen: Array
    rounding: Rounding
    sampler: Sampler
    ways: Sequence[Folded]
    repeated: bool
    alike: bool

    def errors(self) -> tuple[Array, Array, Array]:
        """The variance, what of it outputs have not in common, and samples: results of a tile x K x 1 or S x tiles."""
        products, tiles, count = self.products, self.products.tiles, self.sampler.count
        transformed = tiles.inputs(self.cells)
        exact = products.grouped(transformed)
        inputs = bfloat16.rounded(exact) if self.rounding.reads_bfloat16 else exact
        spread = None if self.before is None else tiles.inputs(self.before)
        there = _with_errors(transformed, spread, tiles.response(self.unseen))
        # Below the smallest normal number a rounding errs as much however small the number is: once in every pass.
        positions = len(products.weights) * products.parts
        passes = positions * (1 + math.log2(positions)) * TINY**2
        cells = _with_errors(self.cells, self.before, self.unseen)
        noise = products.grouped(tiles.input_variance(cells, there)) + passes
        sums, squares = products.weights @ inputs, products.squares @ np.square(products.grouped(there))
        errors_of_sums = np.maximum(squares - products.squares @ np.square(exact), 0.0)
        large = np.copysign(np.sqrt(np.square(sums) + errors_of_sums), sums)
        accumulated = _accumulated(large, squares, products.terms, self.rounding)
        sampled = np.zeros((*sums.shape[:3], count, sums.shape[3]))
        certain = Dependent(np.zeros(sums.shape), np.zeros(sampled.shape))
        image, filters = inputs.reshape(-1, 1, inputs.shape[3]), products.as_convolution
        walk = None if self.sampler.independent else runs.conv(image, filters, POINTWISE)
        if walk is not None:
            accumulated += wandering(products.terms, self.rounding) * walk.excess.reshape(sums.shape)
            if self.repeated:
                self._add_dependent(inputs, walk, certain, accumulated)
        own = self._flips(exact, noise, spread) if self.rounding.reads_bfloat16 else noise
        common = products.squares @ own + self.rounding.weight_error**2 / 3 * squares
        if products.open_variance is not None:
            common += products.open_variance @ np.square(products.grouped(there))
        if count:
            sampled += self._before(inputs, self._of_inputs(exact, noise, spread), coarse=spread is not None)
            shared = shares.conv(image, filters, POINTWISE, self.sampler.multipliers) if self.alike else None
            if shared is None:
                flat = (-1, 1, sums.shape[3])
                drawn = with_signs(np.sqrt(accumulated).reshape(flat), sums.reshape(flat), self.sampler.multipliers)
                sampled += drawn.reshape(sampled.shape)
            else:
                sampled += (shared * np.sqrt(accumulated).reshape(-1, 1, 1, sums.shape[3])).reshape(sampled.shape)
        results = tiles.results(products.ungrouped(sums))
        results = np.sqrt(np.square(results) + tiles.result_variance(products.ungrouped(errors_of_sums)))
        # On the way back sums may be as small as results already, so that their errors add up.
        left = tiles.own_variance(products.ungrouped(large), results) + passes + positions * products.terms * TINY**2
        variance = tiles.result_variance(products.ungrouped(accumulated + common)) + left
        found = tiles.results(products.ungrouped(sampled))
        shape = len(results), -1, 1, sums.shape[3]
        variance, left = variance.reshape(shape), left.reshape(shape)
        found = found.reshape(len(results), variance.shape[1], count, sums.shape[3])
        if certain.bound.any():
            variance = variance + self._certain(certain, found)
        return self._with_stored(inputs, variance, found), left, found

    def _certain(self, certain: Dependent, found: Array) -> Array:
        """The variance that stands for errors of positions that are certain to stay below bounds; samples are added.

        A result adds up several of them. It errs by the sum of their bounds at the most, which then counts as CERTAIN
        sigma; many of them, with signs that nothing makes the same, add up as independent ones do, and each may be
        nearly its bound.
        """
        tiles, ungrouped = self.products.tiles, self.products.ungrouped
        most = tiles.result_bound(ungrouped(certain.bound)) / CERTAIN
        usual = tiles.result_variance(ungrouped(np.square(certain.bound / CERTAIN)))
        variance = np.minimum(np.square(most), SEVERAL * usual).reshape(*found.shape[:2], 1, -1)
        scale = np.sqrt(variance / np.where(usual > 0, usual, 1.0).reshape(variance.shape))
        found += scale * tiles.results(ungrouped(certain.errors)).reshape(found.shape)
        return variance

    def _of_inputs(self, inputs: Array, noise: Array, spread: Array | None) -> Array:
        """Samples of the errors of transformed inputs, P x G x C/G x S N: `noise` and, `spread`, those from before."""
        flat = (-1, 1, inputs.shape[3])
        drawn = with_signs(np.sqrt(noise).reshape(flat), inputs.reshape(flat), self.sampler.multipliers)
        errors = drawn.reshape(*inputs.shape[:3], self.sampler.count, -1).astype(np.float64)
        if spread is not None:
            errors += self.products.grouped(spread)
        if self.rounding.reads_bfloat16:
            spacing = bfloat16.spacing_of(inputs)[:, :, :, np.newaxis]
            value = inputs[:, :, :, np.newaxis]
            errors = bfloat16.rounded(value + bfloat16.stretched(errors, spacing)) - bfloat16.rounded(value)
        return errors.reshape(*inputs.shape[:3], -1)

    def _flips(self, inputs: Array, noise: Array, spread: Array | None) -> Array:
        """The variance that rounding transformed inputs adds to their errors from before, by these and by `noise`."""
        before = self.products.tiles.response(self.unseen)
        if spread is not None:
            before = before + np.square(spread).mean(axis=-2)
        return bfloat16.flips(inputs, self.products.grouped(before) + noise)

    def _before(self, inputs: Array, errors: Array, *, coarse: bool) -> Array:
        """Samples of what the `errors` of transformed inputs and those of stored weights do to the sums.

        coarse: whether these errors are more than roundings, so that coarse weights meet them.
        """
        sampler, count = self.sampler, self.sampler.count
        found = (self.products.weights @ errors).reshape(*self.products.weights.shape[:3], count, -1)
        # A weight errs alike in every tile: one pattern of errors, with a sign for each position. Errors meet it, too.
        of_weights = self.products.stored_errors
        signs = sampler.generator.integers(0, 2, (len(inputs), 1, 1, count, 1)) * 2.0 - 1.0
        found += (of_weights @ inputs)[:, :, :, np.newaxis] * signs
        if coarse and samples.coarse(self.rounding):
            found += (of_weights @ errors).reshape(found.shape) * signs
        return found

    def _add_dependent(self, inputs: Array, walk: Walk, certain: Dependent, accumulated: Array) -> None:
        """Add what roundings do that depend on each other, position by position; see `residues`.

        Those are errors that are certain to stay below bounds, with samples of them, and what products of which many
        are equal add to the variance of the accumulation.
        """
        filters = len(accumulated[0, 0]) // self.products.parts
        ways = [self._of_rows(way, filters) for way in self.ways]
        climbs = walk.climb.reshape(len(inputs), -1, 1, inputs.shape[3])
        for position, (cells, matrices, climb) in enumerate(zip(inputs, self.products.weights, climbs, strict=True)):
            image, taps = cells.reshape(-1, 1, cells.shape[2]), matrices.reshape(-1, matrices.shape[2], 1, 1)
            found = residues.conv(image, taps, POINTWISE, climb, ways, self.sampler)
            if found is not None:
                certain.bound[position] = found.bound.reshape(certain.bound[position].shape)
                certain.errors[position] = (found.errors / CERTAIN).reshape(certain.errors[position].shape)
            crowd = residues.crowd(image, taps, POINTWISE, climb)
            if crowd is not None:
                accumulated[position] += SEVERAL * crowd.reshape(accumulated[position].shape)

    def _of_rows(self, way: Folded, filters: int) -> Folded:
        """A way for the sums of a position, which start at 0: those of a group one after another, parts and filters."""
        factor = way.factor.reshape(-1, 1, filters).repeat(self.products.parts, axis=1).ravel()
        return Folded(factor, np.zeros_like(factor))

    def _with_stored(self, inputs: Array, variance: Array, found: Array) -> Array:
        """The variance with what the rounding of coarsely stored weights is known to do; samples of it are added."""
        if not samples.coarse(self.rounding):
            return variance
        filters = self.products.weights.shape[2] // self.products.parts
        worst = np.zeros(variance.shape)
        image = inputs.reshape(-1, 1, inputs.shape[3])
        for way in self.ways:
            one = self._of_rows(way, filters)
            rows = Folded(np.tile(one.factor, len(inputs)), np.tile(one.start, len(inputs)))
            sums = residues.stored_weights(image, self.products.as_convolution, POINTWISE, self.rounding, [rows])
            shape = (*self.products.weights.shape[:3], -1)
            off = self.products.tiles.results(self.products.ungrouped(sums.reshape(shape))).reshape(worst.shape)
            np.copyto(worst, off, where=np.abs(off) > np.abs(worst))
        signs = self.sampler.generator.integers(0, 2, self.sampler.count) * 2.0 - 1.0
        found += worst / CERTAIN * signs[:, np.newaxis]
        return variance + np.square(worst / CERTAIN)


def _with_errors(values: Array, errors: Array | None, unseen: Array) -> Array:
    """`values` as large as errors make them: samples, on the axis before the last, and the variance of others."""
    variance = unseen if errors is None else np.square(errors).mean(axis=-2) + unseen
    return np.copysign(np.sqrt(np.square(values) + RATHER_LARGE * variance), values)


def _accumulated(sums: Array, squares: Array, terms: int, rounding: Rounding) -> Array:
    """The variance of accumulations of `terms` products, whose squares add up to `squares`, that start at 0."""
    drift = STEP * terms * rounding.accumulation / 3 + ROUNDING
    smallest = SMALLEST_NORMAL if rounding.reads_bfloat16 else TINY  # sums below that are zeros
    return wandering(terms, rounding) * squares + drift * np.square(sums) + terms * smallest**2
