"""Algorithms that compute a convolution tile by tile, as linear maps: Winograd's and the discrete Fourier transform.

Both transform what a tile of outputs sees of the input, multiply position by position with transformed filters, add up
the products over the channels, and transform the sums back (see Lavin and Gray 2016 for the first, Mathieu, Henaff and
LeCun 2014 for the second). Here stands what the maps are and how their own roundings grow; what that makes of a layer
is in `reference.tiled`.

A rounding model of a sum of d terms t that comes to s is that of `reference.accumulation`, 0.18 u^2 d (s^2/3 + sum of
t^2/2), for both passes of a transform together. A Fourier transform of n elements is log2(n) additions deep, and each
element of it has the modulus 1, so that its variance is that much of the power of the input; a pass is looked at by
itself, as the constant part of the first weighs on a whole row or column of the second.

A complex number is two channels: a product of complex numbers is a 2 x 2 matrix times a pair.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reference.roundoff import STEP
from reference.windows import Array

_LAST_ROUNDINGS = 2.0
"""Roundings of the size of the result in a Fourier transform of equal terms: 1 + 1/2 + 1/4 + ..."""


class Tiles(ABC):
    """How a tile is computed. Arrays have the rows and columns of a tile first, P positions after a transform.

    Parts are 1 for real numbers and 2 for complex ones, and N is whatever else there is of them.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def outputs(self) -> tuple[int, int]:
        """Rows and columns of results that a tile has."""

    @property
    @abstractmethod
    def transformed(self) -> tuple[bool, bool]:
        """Whether rows and columns are transformed; filters have their taps as channels along an axis that is not."""

    @property
    def most_taps(self) -> tuple[float, float]:
        """Taps along rows and columns of which a transform is made; longer filters are cut into pieces of so many."""
        return math.inf, math.inf

    @abstractmethod
    def inputs(self, x: Array) -> Array:
        """The transform of what tiles see, H x W x N: P x parts x N."""

    @abstractmethod
    def input_variance(self, x: Array, transformed: Array) -> Array:
        """The variance of its roundings."""

    @abstractmethod
    def response(self, variance: Array) -> Array:
        """The variance that independent errors of what tiles see have when they are transformed: P x parts x N."""

    @abstractmethod
    def weights(self, filters: Array) -> Array:
        """The transform of filters, FH x FW x N: P x parts x parts x N, matrices for pairs."""

    @abstractmethod
    def results(self, sums: Array) -> Array:
        """The way back, P x parts x N: results x N."""

    @abstractmethod
    def result_variance(self, variance: Array) -> Array:
        """What independent errors of the sums do to the results: results x N."""

    @abstractmethod
    def result_bound(self, bound: Array) -> Array:
        """How large results are of sums that are at most `bound` large: results x N."""

    @abstractmethod
    def own_variance(self, sums: Array, results: Array) -> Array:
        """The variance of the roundings on the way back."""

    @abstractmethod
    def magnitudes(self, cells: tuple[int, int], taps: tuple[int, int]) -> Winograd:
        """The algorithm in absolute values: applied to absolute values it bounds every number on the way."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Winograd's algorithm along an axis, y = results ((weights w) * (inputs x)), for n positions, m results, r taps.

    inputs: n x n. weights: n x r, to be divided by `divisors`, n numbers, so that both can be exact. results: m x n.
    is_exact: whether all constants of the transforms of inputs and results are float32 numbers, weights apart.
    """

    inputs: Array
    weights: Array
    divisors: Array
    results: Array
    is_exact: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Winograd(Tiles):
    """Winograd's algorithm in two dimensions: products of the matrices of two axes.

    terms_in, terms_out: terms of the sums behind each position, and behind each result.
    """

    shape: tuple[int, int]
    is_transformed: tuple[bool, bool]
    matrix_in: Array
    matrix_of_weights: Array
    divisors: Array
    matrix_out: Array
    terms_in: Array
    terms_out: Array
    is_exact: bool

    @classmethod
    def of(cls, rows: Axis, columns: Axis) -> Winograd:
        """The algorithm of two axes; one of a single tap and output is 1 x 1 matrices of 1."""
        return cls(
            (len(rows.results), len(columns.results)),
            (len(rows.inputs) > 1, len(columns.inputs) > 1),
            _kron(rows.inputs, columns.inputs),
            _kron(rows.weights, columns.weights),
            _kron(rows.divisors, columns.divisors),
            _kron(rows.results, columns.results),
            np.add.outer(_terms(rows.inputs), _terms(columns.inputs)).ravel(),
            np.add.outer(_terms(rows.results), _terms(columns.results)).ravel(),
            rows.is_exact and columns.is_exact,
        )

    @property
    def outputs(self) -> tuple[int, int]:
        """See `Tiles`."""
        return self.shape

    @property
    def transformed(self) -> tuple[bool, bool]:
        """See `Tiles`."""
        return self.is_transformed

    @property
    def growth(self) -> tuple[float, float, float]:
        """Of an algorithm in absolute values: how large results, inputs and weights on the way may be.

        Results relative to the sum of the products, the others relative to the largest input and weight.
        """
        inputs, weights = self.matrix_in.sum(axis=1), self.matrix_of_weights / self.divisors[:, np.newaxis]
        results = self.matrix_out @ (inputs * weights.max(axis=1))
        return float(results.max()), float(inputs.max()), float(weights.sum(axis=1).max())

    def inputs(self, x: Array) -> Array:
        """See `Tiles`."""
        return _times(self.matrix_in, x)[:, np.newaxis]

    def input_variance(self, x: Array, transformed: Array) -> Array:
        """See `Tiles`."""
        squares = _times(np.square(self.matrix_in), np.square(x))
        terms = self.terms_in.reshape(-1, *[1] * (squares.ndim - 1))
        return (STEP * terms * (np.square(transformed[:, 0]) / 3 + squares / 2))[:, np.newaxis]

    def response(self, variance: Array) -> Array:
        """See `Tiles`."""
        return _times(np.square(self.matrix_in), variance)[:, np.newaxis]

    def weights(self, filters: Array) -> Array:
        """See `Tiles`."""
        transformed = _times(self.matrix_of_weights, filters)
        return transformed[:, np.newaxis, np.newaxis] / self.divisors.reshape(-1, *[1] * (transformed.ndim + 1))

    def results(self, sums: Array) -> Array:
        """See `Tiles`."""
        return self.matrix_out @ sums.reshape(len(sums), -1)

    def result_variance(self, variance: Array) -> Array:
        """See `Tiles`."""
        return np.square(self.matrix_out) @ variance.reshape(len(variance), -1)

    def result_bound(self, bound: Array) -> Array:
        """See `Tiles`."""
        return np.abs(self.matrix_out) @ bound.reshape(len(bound), -1)

    def own_variance(self, sums: Array, results: Array) -> Array:
        """See `Tiles`."""
        squares = np.square(self.matrix_out) @ np.square(sums.reshape(len(sums), -1))
        return np.asarray(STEP * self.terms_out[:, np.newaxis] * (np.square(results) / 3 + squares / 2))

    def magnitudes(self, cells: tuple[int, int], taps: tuple[int, int]) -> Winograd:
        """See `Tiles`."""
        del cells, taps
        return Winograd(
            self.shape,
            self.is_transformed,
            np.abs(self.matrix_in),
            np.abs(self.matrix_of_weights),
            np.abs(self.divisors),
            np.abs(self.matrix_out),
            self.terms_in,
            self.terms_out,
            self.is_exact,
        )


@dataclass(frozen=True, slots=True)
class Fourier(Tiles):
    """Products of discrete Fourier transforms. `sizes` are the lengths along rows and columns, 1 for none.

    Of transforms of real numbers half is computed: along columns, or along rows where these alone are transformed.
    """

    shape: tuple[int, int]
    sizes: tuple[int, int]

    @property
    def outputs(self) -> tuple[int, int]:
        """See `Tiles`."""
        return self.shape

    @property
    def transformed(self) -> tuple[bool, bool]:
        """See `Tiles`."""
        return self.sizes[0] > 1, self.sizes[1] > 1

    @property
    def most_taps(self) -> tuple[float, float]:
        """See `Tiles`. Results and taps take a whole transform."""
        rows, columns = (size + 1 - results for size, results in zip(self.sizes, self.shape, strict=True))
        return rows, columns

    @property
    def _axes(self) -> list[int]:
        """Axes that are transformed, in order."""
        return [axis for axis in (1, 0) if self.sizes[axis] > 1]

    @property
    def _lengths(self) -> list[int]:
        """Rows and columns of half a spectrum."""
        return [size // 2 + 1 if axis == self._axes[0] else size for axis, size in enumerate(self.sizes)]

    def inputs(self, x: Array) -> Array:
        """See `Tiles`."""
        return _parts(self._forward(x))

    def _forward(self, x: Array) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = x
        for number, axis in enumerate(self._axes):
            transform = np.fft.fft if number else np.fft.rfft
            values = transform(values, self.sizes[axis], axis=axis)
        return values

    def input_variance(self, x: Array, transformed: Array) -> Array:
        """See `Tiles`."""
        values: npt.NDArray[Any] = x
        variance: Array = np.zeros((1, 1, *x.shape[2:]))
        for number, axis in enumerate(self._axes):
            transform = np.fft.fft if number else np.fft.rfft
            power = np.square(np.abs(values)).sum(axis=axis, keepdims=True)
            values = transform(values, self.sizes[axis], axis=axis)
            variance = variance.sum(axis=axis, keepdims=True) + _stage(self.sizes[axis], power, values)
        half = np.broadcast_to(variance / 2, values.shape).reshape(-1, 1, *x.shape[2:])
        return np.broadcast_to(half, transformed.shape)

    def response(self, variance: Array) -> Array:
        """See `Tiles`. All of it counts in each part, as some numbers are real."""
        whole = variance.sum(axis=(0, 1))
        return np.broadcast_to(whole, (math.prod(self._lengths), 2, *whole.shape))

    def weights(self, filters: Array) -> Array:
        """See `Tiles`. A correlation is a product with the conjugate."""
        real, imaginary = np.moveaxis(_parts(self._forward(filters)), 1, 0)
        return np.stack((np.stack((real, imaginary), axis=1), np.stack((-imaginary, real), axis=1)), axis=1)

    def _spectrum(self, sums: Array) -> npt.NDArray[np.complex128]:
        """Sums as complex numbers, rows x columns x N."""
        numbers = sums[:, 0] + 1j * sums[:, 1]
        return np.asarray(numbers.reshape(*self._lengths, -1))

    def _weights_of_half(self, axis: int) -> Array:
        """How often the numbers of half a spectrum stand in the whole, for broadcasting along `axis`."""
        size = self.sizes[axis]
        often = np.full(size // 2 + 1, 2.0)
        often[0] = 1.0
        if size % 2 == 0:
            often[-1] = 1.0
        return often.reshape([-1 if one == axis else 1 for one in range(3)])

    def results(self, sums: Array) -> Array:
        """See `Tiles`."""
        values: npt.NDArray[Any] = self._spectrum(sums)
        for axis in reversed(self._axes):
            last = axis == self._axes[0]
            whole = np.fft.irfft(values, self.sizes[axis], axis=axis) if last else np.fft.ifft(values, axis=axis)
            values = whole[tuple(slice(self.shape[axis]) if one == axis else slice(None) for one in range(3))]
        return values.reshape(math.prod(self.shape), -1)

    def result_variance(self, variance: Array) -> Array:
        """See `Tiles`."""
        return self.result_bound(variance) / math.prod(self.sizes)

    def result_bound(self, bound: Array) -> Array:
        """See `Tiles`."""
        spread = self._spectrum(bound)
        total = spread.real + spread.imag
        for axis in reversed(self._axes):
            often = self._weights_of_half(axis) if axis == self._axes[0] else 1.0
            total = (often * total).sum(axis=axis, keepdims=True) / self.sizes[axis]
        return np.broadcast_to(total.reshape(1, -1), (math.prod(self.shape), total.size))

    def own_variance(self, sums: Array, results: Array) -> Array:
        """See `Tiles`."""
        del results
        values: npt.NDArray[Any] = self._spectrum(sums)
        variance: Array = np.zeros((1, 1, values.shape[2]))
        for axis in reversed(self._axes):
            size, last = self.sizes[axis], axis == self._axes[0]
            often = self._weights_of_half(axis) if last else 1.0
            power = (often * np.square(np.abs(values))).sum(axis=axis, keepdims=True) / size**2
            whole = np.fft.irfft(values, size, axis=axis) if last else np.fft.ifft(values, axis=axis)
            values = whole[tuple(slice(self.shape[axis]) if one == axis else slice(None) for one in range(3))]
            variance = (often * variance).sum(axis=axis, keepdims=True) / size**2 + _stage(size, power, values)
        return np.broadcast_to(variance, values.shape).reshape(math.prod(self.shape), -1)

    def magnitudes(self, cells: tuple[int, int], taps: tuple[int, int]) -> Winograd:
        """See `Tiles`. A number on the way is at most the sum of all cells times the sum of all taps."""
        one, ones = np.ones(1), np.ones((1, math.prod(cells)))
        filters, out = np.ones((1, math.prod(taps))), np.ones((math.prod(self.shape), 1))
        return Winograd(self.shape, self.transformed, ones, filters, one, out, one, one, is_exact=False)


def _stage(size: int, power: Array, values: npt.NDArray[Any]) -> Array:
    """The variance of one pass of a transform of `size` elements, with this power, that comes to `values`."""
    return np.asarray(STEP * (math.log2(size) * power + _LAST_ROUNDINGS * np.square(np.abs(values))))


def _parts(values: npt.NDArray[Any]) -> Array:
    """Rows x columns x N complex numbers as P x 2 x N real ones."""
    flat = values.reshape(-1, *values.shape[2:])
    return np.stack((flat.real, flat.imag), axis=1)


def _times(matrix: Array, x: Array) -> Array:
    """A matrix times arrays of rows x columns x N."""
    return (matrix @ x.reshape(matrix.shape[1], -1)).reshape(len(matrix), *x.shape[2:])


def _terms(matrix: Array) -> Array:
    """Terms of the sums that the rows of a matrix are, 0 for a copy."""
    terms = np.count_nonzero(matrix, axis=1)
    return np.where(terms > 1, terms, 0).astype(np.float64)


def _kron(rows: Array, columns: Array) -> Array:
    return np.asarray(np.kron(rows, columns), np.float64)
