"""Errors of single roundings to float32."""

from __future__ import annotations

U = 2.0**-24
"""Unit roundoff of float32: the largest relative error of one rounding to nearest."""

SMALLEST_NORMAL = 2.0**-126
"""Smallest normal float32; below it the absolute error of a rounding stays at most U times this."""

ROUNDING = U**2 / 3
"""Relative variance of one rounding."""

STEP = 0.18 * U**2
"""Relative variance of one rounding in a long accumulation."""

TINY = 2.0**-150
"""Largest error of one rounding to a subnormal number."""
