"""What one implementation of a layer adds to the variance; the caller takes it from the plan of the emitted code."""

from __future__ import annotations

import math
from dataclasses import dataclass

U = 2.0**-24
"""Unit roundoff of float32: the largest relative error of one rounding to nearest."""

SMALLEST_NORMAL = 2.0**-126
"""Smallest normal float32; below it the absolute error of a rounding stays at most U times this."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """How a convolution or fully connected layer is evaluated, as far as the variance must know.

    weight_error: largest relative rounding error of a stored weight. U by default, as batch normalization may have
        been folded into the weights; 2^-11 for weights stored as fp16.
    weight_floor: magnitude below which that error is absolute: the smallest normal number of the stored format (2^-14
    for fp16).
    weight_span: the same relative to the largest weight of an output channel, where channels are scaled before they are
        stored: 2^-28 for fp16 with the largest weight lifted to at least 2^14 (or as far as the smallest needs it).
    accumulation: factor on the variance of the accumulation itself, 1 for a chain of fused multiply-adds.
    tile: rows and columns of the output tiles of an algorithm that mixes the whole input of a tile: a non-finite
        input makes all outputs of its tiles unspecified. Tiles begin at the first row and column.
    """

    weight_error: float = U
    weight_floor: float = SMALLEST_NORMAL
    weight_span: float = 0.0
    accumulation: float = 1.0
    tile: tuple[int, int] = (1, 1)

    @property
    def weight_bits(self) -> int:
        """Significant bits of a stored weight: 24 for float32, 11 for fp16."""
        return round(-math.log2(self.weight_error))


DEFAULT = Rounding()
"""Direct evaluation in float32, batch normalization perhaps folded into the weights."""

HALF_WEIGHTS = Rounding(weight_error=2.0**-11, weight_span=2.0**-28)
"""Weights stored as fp16, each output channel times a power of two of its own."""
