"""What one implementation of a layer adds to the variance; the caller takes it from the plan of the emitted code."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reference.roundoff import SMALLEST_NORMAL, U
from reference.tiles import Tiles


@dataclass(frozen=True, slots=True)
class Rounding:
    """How a convolution or fully connected layer is evaluated, as far as the variance must know.

    weight_error: largest relative rounding error of a stored weight. U by default, as batch normalization may have
        been folded into the weights; 2^-11 for weights stored as fp16.
    weight_floor: magnitude below which that error is absolute: the smallest normal number of the stored format (2^-14
    for fp16).
    weight_span: the same relative to the largest weight of an output channel, where channels are scaled before they are
        stored: 2^-28 for fp16 with the largest weight lifted to at least 2^14 (or as far as the smallest needs it).
    weight_limit: magnitude above which a weight, transformed where the algorithm does that, cannot be stored.
    accumulation: factor on the variance of the accumulation itself, 1 for a chain of fused multiply-adds.
    reads_bfloat16: whether what is multiplied by weights is rounded to bfloat16 first (see `reference.bfloat16`): what
        is read, in tiles its transform; then subnormal sums are zeros.
    weights_bfloat16: whether weights, as they are given, are rounded so. Where a batch norm may be folded in before,
        weight_error says how far they are off instead.
    tiles: the algorithm of a convolution that is computed tile by tile, whose tiles begin at the first row and column.
        Then a weight is a transformed one, and an output channel is one at a position of the transform.
    """

    weight_error: float = U
    weight_floor: float = SMALLEST_NORMAL
    weight_span: float = 0.0
    weight_limit: float = math.inf
    accumulation: float = 1.0
    reads_bfloat16: bool = False
    weights_bfloat16: bool = False
    tiles: Tiles | None = None

    @property
    def scales_weights(self) -> bool:
        """Whether weights are multiplied by a power of two before they are stored, see `reference.lifting`."""
        return self.weight_span > 0

    @property
    def weight_bits(self) -> int:
        """Significant bits of a stored weight: 24 for float32, 11 for fp16."""
        return round(-math.log2(self.weight_error))


DEFAULT = Rounding()
"""Direct evaluation in float32, batch normalization perhaps folded into the weights."""

HALF_WEIGHTS = Rounding(weight_error=2.0**-11, weight_span=2.0**-28)
"""Weights stored as fp16, each output channel times a power of two of its own."""

BFLOAT16 = Rounding(reads_bfloat16=True, weights_bfloat16=True)
"""What is read, and weights as they are given, rounded to bfloat16, once each."""

FOLDED_BFLOAT16 = Rounding(reads_bfloat16=True, weight_error=2.0**-8, weight_floor=SMALLEST_NORMAL * 2.0**8)
"""The same where a batch norm of the result is folded into the weights before these are rounded.

Weights that are smaller than a normal number become zeros: an error of as much."""
