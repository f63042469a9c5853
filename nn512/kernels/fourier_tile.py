"""What Fourier transforms make of a tile, for filters of one size: results, phases, a spectrum, operations."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nn512.kernels.complex_products import LONGEST
from nn512.kernels.fourier_lines import complex_operations, real_operations
from nn512.kernels.tile_parts import PANEL_BLOCKS
from nn512.plan.plan import PlannedAxis

FEW_TILES = 12
"""Up to so many tiles are computed in steps; those of a block where so many do not fit into the cache anyway."""

MOST_PASSES = 4
"""Passes over the tiles of a block at most."""


@dataclass(frozen=True, slots=True)
class FourierTile:
    """Products of spectra. Pairs are rows and columns.

    `sizes` are lengths of transforms, 1 where the filter has one tap; `strides` are those of the convolution. A long
    filter of one row or column, at stride 1, is cut into `pieces`, each of which counts as a phase.
    """

    sizes: tuple[int, int]
    filter: tuple[int, int]
    strides: tuple[int, int]
    pieces: int = 1

    @property
    def steps(self) -> tuple[int, int]:
        """From one element that is transformed to the next: the stride, where the axis is."""
        rows, columns = (stride if size > 1 else 1 for stride, size in zip(self.strides, self.sizes, strict=True))
        return rows, columns

    @property
    def taps(self) -> tuple[int, int]:
        """Taps of a phase of the filter."""
        rows, columns = (
            -(-taps // (step * (self.pieces if size > 1 else 1)))
            for taps, step, size in zip(self.filter, self.steps, self.sizes, strict=True)
        )
        return rows, columns

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns of a tile of results."""
        rows, columns = (size + 1 - taps for size, taps in zip(self.sizes, self.taps, strict=True))
        return rows, columns

    @property
    def windows(self) -> tuple[int, int]:
        """Cells of the picture under a tile."""
        rows, columns = (
            size * step + ((self.pieces - 1) * taps if size > 1 else 0)
            for size, step, taps in zip(self.sizes, self.steps, self.taps, strict=True)
        )
        return rows, columns

    @property
    def reach(self) -> tuple[int, int]:
        """Those of them that results depend on: the rest count as zeros."""
        rows, columns = (
            (outputs - 1) * step + taps
            for outputs, step, taps in zip(self.outputs, self.steps, self.filter, strict=True)
        )
        return rows, columns

    @property
    def phases(self) -> int:
        """Parts of what a tile sees: every so many rows and columns, or what the pieces of the filter see."""
        return math.prod(self.steps) * self.pieces

    @property
    def positions(self) -> int:
        """Numbers of a spectrum."""
        return math.prod(self.sizes)

    @property
    def real_pairs(self) -> tuple[int, ...]:
        """Pairs of numbers of a spectrum that are two real ones."""
        return (0,) if 1 in self.sizes else (0, self.sizes[0] // 2)

    @property
    def multiplications(self) -> int:
        """Products of real numbers: four for one of complex ones."""
        return 2 * self.positions - 2 * len(self.real_pairs)

    @property
    def weight_uses(self) -> int:
        """Products of a tile for which a weight is loaded once: those with both parts of a number."""
        return 2

    @property
    def longest_pass(self) -> int:
        """Tiles that are summed at a time with two blocks of outputs."""
        return LONGEST[PANEL_BLOCKS]

    def most_tiles(self, vectors: int, cache: int) -> int:
        """Tiles of a block at most: whole passes that the cache holds.

        Where it does not even hold one, what counts is how often the weights are read.
        """
        passes = cache // (64 * vectors * self.positions * self.longest_pass)
        return min(passes, MOST_PASSES) * self.longest_pass if passes else FEW_TILES

    @property
    def few_tiles(self) -> int:
        """Up to so many tiles are computed in steps."""
        return FEW_TILES

    def _operations(self, kept: int) -> int:
        """Transforms of so many rows, and of all columns."""
        height, width = self.sizes
        if height == 1 or width == 1:
            size = height * width
            spilled = 8 * size if size > 32 else 0  # halves of it wait in memory, on every level
            return real_operations(size) + spilled
        columns = 2 * real_operations(height) + (width // 2 - 1) * complex_operations(height)
        return kept * real_operations(width) + columns + 2 * kept * width

    @property
    def input_operations(self) -> int:
        """Vector operations that transform a tile of 16 input channels, loads and stores included."""
        return self._operations(self.sizes[0]) + 2 * self.positions

    @property
    def result_operations(self) -> int:
        """The same for the products of a tile and 16 outputs."""
        return self._operations(self.outputs[0]) + self.positions + math.prod(self.outputs)

    @property
    def name(self) -> str:
        """Part of the names of routines."""
        return f"fourier{self.sizes[0]}x{self.sizes[1]}"

    @property
    def title(self) -> str:
        """The algorithm in words."""
        size, outputs = (f"{rows}x{columns}" for rows, columns in (self.sizes, self.outputs))
        parts = "pieces of the filter" if self.pieces > 1 else "phases"
        phases = f" of {self.phases} {parts}" if self.phases > 1 else ""
        return f"Fourier transforms of {size}{phases}, {outputs} results each"

    @property
    def axes(self) -> tuple[PlannedAxis, PlannedAxis]:
        """What the plan says of it."""
        rows, columns = (
            PlannedAxis(outputs=outputs, taps=taps, size=size, points=())
            for outputs, taps, size in zip(self.outputs, self.taps, self.sizes, strict=True)
        )
        return rows, columns
