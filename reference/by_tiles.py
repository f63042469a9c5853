"""A convolution of a graph whose plan says that it is computed tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nn512.graph.nodes import Conv
from reference import domain, fast, lifting, tiled
from reference.evaluation import Evaluation
from reference.residues import Folded
from reference.rounding import Rounding
from reference.roundoff import ROUNDING, TINY
from reference.samples import mean_square
from reference.tiled import Products, own_errors
from reference.tiles import Tiles, Winograd
from reference.tiling import Grid
from reference.windows import Array, Mask, Window


def rounded_sums(at: Evaluation[Conv], direct: Array, weights: Array, window: Window) -> Array:
    """The sums of transformed numbers that are rounded to bfloat16; the `direct` ones where these are not finite."""
    (x,) = at.reads
    finite = np.where(np.isfinite(x.value), x.value, 0.0)
    sums = tiled.rounded_sums(finite, weights, window, (direct.shape[1], direct.shape[2]), at.rounding)
    return np.where(np.isfinite(direct), sums, direct)


def errors(
    at: Evaluation[Conv], y: Array, weights: Array, ways: Sequence[Folded], window: Window
) -> tuple[Array, Array, Array]:
    """The variance of the result `y`, samples of what its errors have in common, and the variance of the rest.

    Of a batch normalization that may have been folded into the layer the larger variance is taken, as for direct sums.
    """
    (x,) = at.reads
    size = y.shape[1], y.shape[2]
    unseen = np.maximum(x.derived - mean_square(x.errors), 0.0)

    def evaluated(values: Array, start: Array) -> tuple[Array, Array, Array]:
        finite = np.where(np.isfinite(values), values, 0.0)  # tiles that see others are unspecified
        own = own_errors(finite, x.errors, unseen, weights, window, size, at.rounding, at.sampler, ways)
        last = ROUNDING * (np.square(y) + np.square(start)) + TINY**2
        rounded = fast.correlate(ROUNDING * np.square(finite), np.square(weights), window)
        return own.variance + rounded + last, own.errors, own.left + last

    variance, sampled, left = evaluated(x.value, np.zeros(1))
    folds = not at.rounding.reads_bfloat16  # for the platform of bfloat16 no batch norm is folded in from before
    if x.affine is not None and folds and not window.padded:
        start = fast.correlate(x.affine.shifts, weights, window)
        other = evaluated(x.affine.product, start)
        larger = other[0] > variance
        variance, left = np.where(larger, other[0], variance), np.where(larger, other[2], left)
        np.copyto(sampled, other[1], where=larger[:, np.newaxis])
    return variance + fast.correlate(x.mixed_variance, np.square(weights), window), sampled, left


def growth(tiles: Tiles, window: Window) -> float:
    """How much larger than the sum of the absolute products of a window the numbers on the way may be."""
    return max(_magnitudes(tiles, Grid.of(tiles, window, (1, 1))).growth)


def unspecified(at: Evaluation[Conv], weights: Array, window: Window, bound: float) -> Mask:
    """Outputs of tiles that see a cell which is unspecified or not finite, or in which a number may overflow."""
    (x,), tiles, layer = at.reads, at.rounding.tiles, at.layer
    assert tiles is not None
    grid = Grid.of(tiles, window, window.result_size(x.value))
    strange = x.unspecified | ~np.isfinite(x.value)
    mask = grid.touched(strange, len(weights), layer.groups)
    absolute = _magnitudes(tiles, grid)
    of_weights = domain.peak(weights) * absolute.growth[2]
    large = max(bound, domain.peak(x.value) * absolute.growth[1]) > domain.SAFE
    if large or of_weights > _largest_weight(at.rounding):
        mask = mask | _overflowing(at, weights, grid, absolute)
    if at.rounding.scales_weights:
        terms = 2 * grid.filters(weights[:1]).shape[3]  # both parts of complex numbers
        for operand, multiplied in lifting.ways(x.value, None if window.padded else x.affine, weights):
            if domain.peak(operand) * absolute.growth[1] * lifting.LARGEST * terms > domain.SAFE:
                mask = mask | _overflowing_lifted(at, operand, multiplied.astype(np.float64), grid, absolute)
    return mask


def _largest_weight(rounding: Rounding) -> float:
    return min(rounding.weight_limit, domain.SAFE)


def _magnitudes(tiles: Tiles, grid: Grid) -> Winograd:
    taps = tuple(side.length - side.outputs + 1 for side in (grid.rows, grid.columns))
    return tiles.magnitudes((grid.rows.length, grid.columns.length), (taps[0], taps[1]))


def _overflowing(at: Evaluation[Conv], weights: Array, grid: Grid, absolute: Winograd) -> Mask:
    """Outputs of tiles in which a number is too large: an input or a weight, transformed, a sum or a result."""
    (x,) = at.reads
    rounding = replace(at.rounding, tiles=absolute)
    products = Products.of(domain.finite_magnitude(weights), at.layer.groups, grid, rounding)
    cells = grid.cells(domain.finite_magnitude(x.value)[:, np.newaxis], 0, grid.rows.count)[..., 0, :]
    inputs = products.transform(cells)
    sums = products.weights @ inputs
    results = absolute.results(products.ungrouped(sums)).reshape(-1, len(weights), 1, sums.shape[3])
    of_inputs = np.any(inputs > domain.SAFE, axis=(0, 2), keepdims=True)[0]
    of_weights = np.any(products.weights > _largest_weight(at.rounding), axis=(0, 3))[:, :, np.newaxis]
    large = np.any(sums > domain.SAFE, axis=0) | of_inputs | of_weights
    return grid.whole([large.reshape(1, len(weights), 1, -1) | (results > domain.SAFE)])[:, 0]


def _overflowing_lifted(at: Evaluation[Conv], x: Array, weights: Array, grid: Grid, absolute: Winograd) -> Mask:
    """Outputs of tiles in which a sum may be too large before the scale of its weights is taken back."""
    groups = at.layer.groups
    products = Products.of(weights, groups, grid, at.rounding)
    bounds = Products.of(np.abs(weights), groups, grid, replace(at.rounding, tiles=absolute))
    cells = bounds.transform(grid.cells(domain.finite_magnitude(x)[:, np.newaxis], 0, grid.rows.count)[..., 0, :])
    parts = products.parts  # each at most as large as the number
    lifted = lifting.stored(products.weights, lifting.NOISE * np.tile(bounds.weights, (1, 1, parts, parts)))
    sums = products.ungrouped(lifted @ np.tile(cells, (1, 1, parts, 1)))
    large = np.any(sums > domain.SAFE, axis=(0, 1))[:, np.newaxis]
    return grid.whole([np.broadcast_to(large, (grid.rows.outputs * grid.columns.outputs, *large.shape))])[:, 0]
