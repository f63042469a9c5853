"""Where a convolution that is computed tile by tile has no freedom in float32: where every number on the way is exact.

Transformed inputs are inputs times the rows of a matrix, so all they are made of are multiples of the step of the
inputs times that of the row. Transformed weights must be numbers of the format in which they are stored. A sum at a
position is made of multiples of the product of both steps, and a result of multiples of the smallest of these, each
times the step of its entry of the matrix of the way back.

One bound then serves all. The absolute values of everything that a result is made of, sent the same way through the
absolute values of the matrices, must not exceed 2^24 steps of the result: a number on the way has a factor of at least
its matrix's step still to come, so that relative to its own step it is no larger.

F(2x2, 3x3) has steps of 2^-2 for weights and of 1 for the rest, and is exact on small integers. F(4x4, 3x3) with the
points 0, 1/2 and 3/2 divides by 9 in each direction: weights that are multiples of 81 are transformed exactly. Their
steps become so small that a single tap of 81 on ones takes 22 to 29 bits, by the place of the tap; 24 are there.
Fourier's sines are never exact.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nn512.graph.nodes import Conv
from reference.bfloat16 import rounded
from reference.domain import SAFE
from reference.rounding import Rounding
from reference.stepping import SMALLEST_NORMAL_STEP, SMALLEST_STEP, Stepped, Stepping, step_of, steps_of, storable
from reference.tiled import Products
from reference.tiles import Winograd
from reference.tiling import Grid
from reference.windows import Array, Window

Integers = npt.NDArray[np.int64]

_CERTAIN = 2.0**53
"""Integers up to here are float64 numbers."""


def step(at: Stepping[Conv], direct: Stepped, sizes: Array, operand_step: int, window: Window) -> Stepped:
    """What tiles make of a layer that directly is `direct`.

    `sizes` bound what the layer adds up of its operand, in multiples of 2^`operand_step`.
    """
    (x,), tiles, layer = at.reads, at.rounding.tiles, at.layer
    if not isinstance(tiles, Winograd) or not tiles.is_exact:
        return replace(direct, exact=np.zeros_like(direct.exact))
    weights, biases = at.parameter("Weights"), at.parameter("Biases")[:, np.newaxis, np.newaxis]
    grid = Grid.of(tiles, window, window.result_size(x.value))
    products = Products.of(weights, layer.groups, grid, at.rounding)
    absolute = tiles.magnitudes((grid.rows.length, grid.columns.length), (0, 0))
    cells = grid.cells(sizes[:, np.newaxis], 0, grid.rows.count)[..., 0, :]
    sums = np.abs(products.weights) @ products.grouped(absolute.inputs(cells))
    bounds = absolute.results(products.ungrouped(sums)).reshape(-1, len(weights), 1, sums.shape[3])
    steps = np.minimum(_steps(tiles, products, operand_step), step_of(biases))
    spacing = np.broadcast_to(np.ldexp(1.0, steps)[:, :, np.newaxis, np.newaxis], bounds.shape)
    bound, smallest = (grid.whole([array])[:, 0] for array in (bounds, spacing))
    bound = bound + np.abs(biases)
    lowest = SMALLEST_NORMAL_STEP if at.rounding.reads_bfloat16 else SMALLEST_STEP  # subnormal sums are zeros there
    exact = (bound <= at.limit * smallest) & (smallest >= np.ldexp(1.0, lowest)) & (bound <= SAFE)
    exact &= _kept(tiles, grid, products, weights, at.rounding).reshape(-1, 1, 1)
    exact &= ~grid.touched(~x.exact, len(weights), layer.groups)
    if at.rounding.reads_bfloat16:
        exact &= _fitting(tiles, grid, products, x.value)
    return replace(direct, exact=exact, bound=bound, step=int(steps.min()))


def _steps(tiles: Winograd, products: Products, operand_step: int) -> Integers:
    """Exponents of the steps of results, outputs of a tile x K."""
    of_weights = steps_of(products.ungrouped(products.weights)[:, 0])  # P x K
    of_sums = of_weights + (steps_of(tiles.matrix_in) + operand_step)[:, np.newaxis]
    of_entries = steps_of(tiles.matrix_out[..., np.newaxis])  # outputs x P
    return np.asarray((of_entries[:, :, np.newaxis] + of_sums).min(axis=1))


def _fitting(tiles: Winograd, grid: Grid, products: Products, x: Array) -> npt.NDArray[np.bool_]:
    """Results of tiles whose transformed inputs are all bfloat16 numbers."""
    inputs = products.transform(grid.cells(x[:, np.newaxis], 0, grid.rows.count)[..., 0, :])
    fits = (rounded(inputs) == inputs).all(axis=(0, 2))  # by groups and tiles
    filters = products.weights.shape[2]
    shape = (math.prod(tiles.outputs), len(fits) * filters, 1, fits.shape[1])
    return np.asarray(grid.whole([np.broadcast_to(fits.repeat(filters, axis=0)[:, np.newaxis], shape)])[:, 0])


def _kept(tiles: Winograd, grid: Grid, products: Products, weights: Array, rounding: Rounding) -> npt.NDArray[np.bool_]:
    """Which output channels have transformed weights that are stored without an error.

    They are integers times the weights, divided by other integers: what comes back when they are multiplied was exact.
    """
    filters = grid.filters(weights)
    flat = filters.reshape(tiles.matrix_of_weights.shape[1], -1)
    numerators = tiles.matrix_of_weights @ flat
    certain = np.abs(tiles.matrix_of_weights) @ np.abs(flat) <= np.ldexp(_CERTAIN, step_of(weights))
    shape = (len(numerators), *filters.shape[2:])
    transformed = products.ungrouped(products.weights).reshape(shape)
    whole = transformed * tiles.divisors[:, np.newaxis, np.newaxis] == numerators.reshape(shape)
    fits = storable(transformed.reshape(-1, shape[2]), rounding).reshape(shape[:2])
    return np.asarray((whole & certain.reshape(shape)).all(axis=(0, 2)) & fits.all(axis=0))
