"""How much narrow formats err: the rms error that they add to a layer's result, relative to the rms of the result.

For weights and inputs that are independent of each other and have random signs the sum of squares of the errors of
products is that of the products times the relative error of one; the sums have the same ratio, however long they are.
A number that is rounded to a format of b significant bits errs by 2^-(b-1) / m times a uniform number from -1/2 to 1/2,
with m from 1 to 2 its mantissa. Mantissas are spread as logarithms of uniform numbers: the mean of 1/m^2 is 0.541. What
sums have in common, biases and results that cancel make the error of a real layer smaller or larger.
"""

from __future__ import annotations

import math


def rounding_error(bits: int) -> float:
    """The rms relative error of numbers that are rounded to so many significant bits."""
    inverse_squares = 3 / (8 * math.log(2))  # the mean of 1/m^2
    return 2.0 ** (1 - bits) * math.sqrt(inverse_squares / 12)


HALF_ERROR = rounding_error(11)
"""Of layers that store weights as fp16."""

BFLOAT16_ERROR = math.sqrt(2) * rounding_error(8)
"""Of layers that round inputs and weights to bfloat16."""
