"""Sums of products in the order of an accumulation: filters and windows of a convolution cut into lines.

A line is a block of channels with all their taps, or a block of taps with all channels: what a sum that goes channel by
channel, or tap by tap, adds up between two looks at it. All lines of an order are equally long, the last one aside.
Everything is a matrix product; the rows of an image are taken a few at a time, so that no temporary array is large.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nn512.graph.nodes import Conv
from reference.ops import Array, pad, windows

BLOCK = 1 << 20
"""Elements of the largest temporary array (8 MiB of float64), as far as a single row of windows allows."""


@dataclass(frozen=True, slots=True)
class Order:
    """The taps of filters in lines, S x G x K/G x n, by channels or by taps."""

    lines: Array
    by_tap: bool

    def steps(self, columns: Array) -> Array:
        """What each line adds up, S x G x K/G x P; `columns` are windows, G x C/G x taps x P."""
        ordered = columns.swapaxes(1, 2) if self.by_tap else columns
        return np.asarray(self.lines @ _cut(ordered, 1, len(self.lines)))


def orders_of(weights: Array, node: Conv, most: int) -> list[Order]:
    """The orders, of at most `most` lines, in which a convolution may go through its products."""
    filters = weights.reshape(node.groups, -1, weights.shape[1], weights[0, 0].size)
    orders = []
    for by_tap, ordered in ((False, filters), (True, filters.swapaxes(2, 3))):
        if (count := ordered.shape[2]) > 1:
            length = -(-count // most)
            orders.append(Order(_cut(ordered, 2, -(-count // length)), by_tap))
    return orders


def columns_of(x: Array, weights: Array, node: Conv, most: int) -> Iterator[Array]:
    """The windows of `x` for some rows of the result at a time, G x C/G x taps x P."""
    seen = windows(pad(x, node, 0.0), node)
    height, width = seen.shape[1:3]
    rows = max(1, BLOCK // (width * max(len(weights) * most, len(x) * weights[0, 0].size)))
    for top in range(0, height, rows):
        block = seen[:, top : top + rows]
        inputs, pixels = weights.shape[1], block.shape[1] * width
        yield np.moveaxis(block.reshape(node.groups, inputs, pixels, -1), 3, 2)


def result_size(x: Array, node: Conv) -> tuple[int, int]:
    """Height and width of the result of a convolution of `x`."""
    height, width = windows(pad(x[:1], node, 0.0), node).shape[1:3]
    return height, width


def as_convolutions(x: Array, weights: npt.NDArray[np.floating]) -> Iterator[tuple[Array, Conv]]:
    """A fully connected layer as convolutions with one window, each of some of its filters, in float64."""
    rows = max(1, BLOCK // x.size)
    for first in range(0, len(weights), rows):
        block = weights[first : first + rows].astype(np.float64).reshape(-1, *x.shape)
        yield block, Conv("", "", len(block), x.shape[1], x.shape[2])


def _cut(array: Array, axis: int, count: int) -> Array:
    """`array` with `axis` in `count` equal parts, zeros behind it, joined with the next axis; the parts come first."""
    length = -(-array.shape[axis] // count)
    missing = count * length - array.shape[axis]
    if missing:
        behind = np.zeros((*array.shape[:axis], missing, *array.shape[axis + 1 :]))
        array = np.concatenate((array, behind), axis=axis)
    before, rest = array.shape[:axis], array.shape[axis + 2 :]
    return np.moveaxis(array.reshape(*before, count, length * array.shape[axis + 1], *rest), axis, 0)
