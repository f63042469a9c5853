"""Winograd's and Fourier's algorithms in float32 numpy, operation by operation, with bugs planted on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.fft

import reference
from fuzz.judge import algorithms
from nn512.algebra.cook_toom import Matrix, Transform, cook_toom
from nn512.algebra.linear import Program, Sum, program_of
from nn512.graph import Conv
from nn512.graph.windows import padding_of

Single: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[np.float64]
F = np.float32

OWN_RANGE = reference.HALF_WEIGHTS
"""fp16, a power of two for every position and filter."""

UNSCALED = replace(OWN_RANGE, weight_span=0.0, weight_floor=2.0**-14)
"""fp16 as it is."""


@dataclass(frozen=True)
class Emulation:
    """An algorithm: outputs of a tile down and across, taps, and what else there is.

    sizes: lengths of Fourier transforms. points: those of Winograd's algorithm, if they are not ours.
    stored: the format of weights, None for fp32.
    """

    outputs: tuple[int, int]
    taps: tuple[int, int]
    sizes: tuple[int, int] | None = None
    stride: int = 1
    points: str = ""
    stored: reference.Rounding | None = None

    def __str__(self) -> str:
        name = "winograd" if self.sizes is None else "fourier"
        stored = {None: "fp32", OWN_RANGE: "fp16", UNSCALED: "unscaled"}[self.stored]
        return "-".join([name, *("x".join(map(str, size)) for size in (self.outputs, self.taps)), stored])

    @property
    def rounding(self) -> reference.Rounding:
        """What the reference is told."""
        if self.sizes is not None:
            tiles: reference.Tiles = reference.Fourier(self.outputs, self.sizes)
        else:
            tiles = algorithms.winograd(*self.transforms)
        return replace(self.stored or reference.Rounding(), tiles=tiles)

    @property
    def transforms(self) -> tuple[Transform, Transform]:
        """Winograd's."""
        points = [Fraction(point) for point in self.points.split()] or None
        rows, columns = (cook_toom(m, r, points) for m, r in zip(self.outputs, self.taps, strict=True))
        return rows, columns

    def run(self, x: Single, weights: Single, biases: Single, node: Conv) -> Single:
        """The convolution in float32."""
        sides = padding_of(node)
        size = [
            (cells + padding - taps) // self.stride + 1
            for cells, padding, taps in zip(x.shape[1:], (sides.rows, sides.columns), self.taps, strict=True)
        ]
        counts = [-(-extent // m) for extent, m in zip(size, self.outputs, strict=True)]
        cells, filters = self._cells(x, node, counts), self._filters(weights)
        sums = self._sums(self._forward(cells), self._stored(filters), node.groups)
        y = self._back(sums).reshape(*self.outputs, len(weights), *counts).transpose(2, 3, 0, 4, 1)
        whole = y.reshape(len(weights), counts[0] * self.outputs[0], -1)[:, : size[0], : size[1]]
        return np.asarray(whole + biases[:, np.newaxis, np.newaxis])

    def _cells(self, x: Single, node: Conv, counts: Sequence[int]) -> Single:
        """What tiles see, cells down x cells across x C x tiles; phases of the stride are channels."""
        s = self.stride
        padding, outputs, taps = (node.padding_top, node.padding_left), self.outputs, [-(-r // s) for r in self.taps]
        reach = [(m + r - 1) * s for m, r in zip(outputs, taps, strict=True)]
        extents = [(n - 1) * m * s + size for n, m, size in zip(counts, outputs, reach, strict=True)]
        padded = np.zeros((len(x), *(max(e, c + p) for e, c, p in zip(extents, x.shape[1:], padding, strict=True))), F)
        padded[:, padding[0] : padding[0] + x.shape[1], padding[1] : padding[1] + x.shape[2]] = x
        seen = np.lib.stride_tricks.sliding_window_view(padded[:, : extents[0], : extents[1]], reach, axis=(1, 2))
        seen = seen[:, :: outputs[0] * s, :: outputs[1] * s]
        split = seen.reshape(*seen.shape[:3], reach[0] // s, s, reach[1] // s, s).transpose(3, 5, 0, 4, 6, 1, 2)
        return split.reshape(*split.shape[:2], len(x) * s * s, -1)

    def _filters(self, weights: Single) -> Array:
        """Taps down x taps across x K x C, in double."""
        s = self.stride
        filled = np.pad(weights.astype(np.float64), ((0, 0), (0, 0), *((0, -r % s) for r in self.taps)))
        k, c, height, width = filled.shape
        split = filled.reshape(k, c, height // s, s, width // s, s).transpose(2, 4, 0, 1, 3, 5)
        return split.reshape(*split.shape[:2], k, -1)

    def _forward(self, cells: Single) -> npt.NDArray[Any]:
        if self.sizes is None:
            rows, columns = self.transforms
            return _both_ways(rows.inputs, columns.inputs, cells)
        return _fourier(cells, self.sizes)

    def _stored(self, filters: Array) -> npt.NDArray[Any]:
        """Transformed weights, rounded once."""
        if self.sizes is None:
            rows, columns = (_floats(transform.weights) for transform in self.transforms)
            exact: npt.NDArray[Any] = np.einsum("ai,ijkc,bj->abkc", rows, filters, columns)
        else:
            exact = np.conj(_fourier(filters, self.sizes))
        if np.iscomplexobj(exact):
            return np.asarray(self._rounded(exact.real) + 1j * self._rounded(exact.imag))
        return self._rounded(exact)

    def _rounded(self, values: Array) -> Array:
        if self.stored is None:
            return values.astype(F).astype(np.float64)
        if self.stored is UNSCALED:
            return values.astype(np.float16).astype(np.float64)
        largest = np.abs(values).max(axis=3, keepdims=True)
        scales = np.exp2(15 - np.ceil(np.log2(np.where(largest > 0, largest, 1.0))))
        return np.asarray((values * scales).astype(np.float16) / scales)

    def _sums(self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
        """Channel after channel, each product fused with its sum."""
        positions, filters = weights.shape[:2], weights.shape[2] // groups
        matrices = weights.reshape(*positions, groups, filters, -1)
        columns = inputs.reshape(*positions, groups, matrices.shape[-1], -1)
        kind = np.complex64 if np.iscomplexobj(inputs) else F
        sums = np.zeros((*positions, groups, filters, columns.shape[-1]), kind)
        for channel in range(matrices.shape[-1]):
            pairs = [(matrices[..., channel], columns[..., channel, :])]
            if kind is np.complex64:  # the imaginary part of the weight in a second step
                w, v = pairs[0]
                pairs = [(w.real, v), (1j * w.imag, v)]
            for w, v in pairs:
                wide = np.complex128 if kind is np.complex64 else np.float64
                sums = (sums + w[..., np.newaxis] * v[..., np.newaxis, :].astype(wide)).astype(kind)
        return sums.reshape(*positions, -1, columns.shape[-1])

    def _back(self, sums: npt.NDArray[Any]) -> Single:
        if self.sizes is None:
            rows, columns = self.transforms
            return _both_ways(rows.results, columns.results, sums)
        axes = [axis for axis in (1, 0) if self.sizes[axis] > 1]
        values = sums
        for axis in reversed(axes):
            size = self.sizes[axis]
            last = axis == axes[0]
            values = scipy.fft.irfft(values, size, axis=axis) if last else scipy.fft.ifft(values, axis=axis)
        return np.asarray(values[: self.outputs[0], : self.outputs[1]])


def _fourier(values: npt.NDArray[Any], sizes: tuple[int, int]) -> npt.NDArray[Any]:
    """Half a spectrum, in the precision of `values`."""
    for number, axis in enumerate(axis for axis in (1, 0) if sizes[axis] > 1):
        size = sizes[axis]
        values = scipy.fft.fft(values, size, axis=axis) if number else scipy.fft.rfft(values, size, axis=axis)
    return values


def _floats(matrix: Matrix) -> Array:
    return np.array([[float(entry) for entry in row] for row in matrix])


def _both_ways(rows: Matrix, columns: Matrix, values: Single) -> Single:
    """Matrices applied to columns, then to rows, by the programs that kernels write."""
    across = _execute(program_of(columns), [values[:, j] for j in range(values.shape[1])])
    half = np.stack(across, axis=1)
    return np.stack(_execute(program_of(rows), list(half)))


def _execute(program: Program, inputs: Sequence[Single]) -> list[Single]:
    named: dict[str, Single] = {}

    def of(one: Sum) -> Single:
        total: Single | None = None
        for term in sorted(one.terms, key=lambda term: abs(term.factor) != 1):
            value = inputs[term.value] if isinstance(term.value, int) else named[term.value]
            factor = F(float(Fraction(term.factor)))
            if total is None:
                total = value if factor == 1 else factor * value
            else:
                total = (total + np.float64(factor) * value).astype(F)
        return np.zeros_like(inputs[0]) if total is None else total

    for one in program.sums:
        named[one.name] = of(one)
    return [of(one) for one in program.results]
