"""Numbers that are rounded to bfloat16 before they are multiplied: which they become, and how their errors go on.

A bfloat16 is a float32 of 8 significant bits, ulp(x) = 2^(floor(log2 |x|) - 7). Rounding is to nearest, ties to even,
and what is smaller than the smallest normal number, 2^-126, is a zero, as it is to the instruction that multiplies
pairs of them. So is every sum that is smaller than that.

What an element becomes is a step function of it, so its error e does not stay what it was: far from the middle between
two bfloat16 it is gone, r(x + e) = r(x), and beside it may be as large as ulp(x). Both are known here, element by
element: r is evaluated at both ends of what the element may be, x - 8 sigma and x + 8 sigma (REACH).

In tiles what is rounded are transformed inputs V; there the error has a part that goes through the layer as if nothing
were rounded, and what rounding adds to that: see `flips`.

* Where both ends become the same number, the variance of r(x) is 0.
* Else it is the square of half the distance of what they become, d^2 / 4: of a flip from one bfloat16 to the next,
  ulp^2 / 4, since r(x) is one of two. Where sigma is so large that there are many between, |r(x + e) - r(x)| is at most
  |e| + ulp, and the variance sigma^2 + ulp^2 / 4 at most: layer after layer may read errors of bfloat16, and must not
  take 8 sigma for one of them each time.

Samples of errors (see `reference.samples`) go through r itself. A sample of sigma seldom reaches a middle that 8 sigma
reach, and then equal elements, which flip together, would count as independent: so samples of errors below an ulp are
stretched by REACH, to an ulp at most.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference import domain, samples
from reference.accumulation import REACH
from reference.roundoff import SMALLEST_NORMAL
from reference.tensor import Result, Tensor
from reference.windows import Array

BITS = 8
"""Significant bits."""

LARGEST = 2.0**128 * (1 - 2.0**-BITS)
"""The largest finite number; what is rounded beyond it is an infinity."""


def rounded(x: Array) -> Array:
    """The nearest bfloat16 of each number, ties to even; NaN and infinities as they are, subnormal numbers as zeros."""
    mantissas, exponents = np.frexp(x)
    nearest = np.ldexp(np.rint(np.ldexp(mantissas, BITS)), exponents - BITS)
    nearest = np.where(np.abs(nearest) > LARGEST, np.copysign(np.inf, x), nearest)
    return np.asarray(np.where(np.abs(x) < SMALLEST_NORMAL, np.copysign(0.0, x), nearest))


def narrowed(x: Tensor) -> Tensor:
    """A tensor as a layer multiplies it that rounds what it reads. Nothing is promised where it rounds to infinity."""
    value = rounded(x.value)
    finite = np.isfinite(value)
    spacing = spacing_of(x.value)
    reach = REACH * np.sqrt(x.result.variance)
    distance = rounded(x.value + reach) - rounded(x.value - reach)
    derived = np.minimum(np.square(distance), 4 * x.result.variance + np.square(spacing)) / 4
    derived = np.where(finite & (distance > 0), derived, 0.0)
    errors = samples.difference(rounded, x.value, stretched(x.errors, spacing[:, np.newaxis]), value)
    errors = np.where(np.isfinite(errors) & finite[:, np.newaxis], errors, 0.0)
    whole = np.fmax(derived, samples.mean_square(errors))
    unspecified = x.unspecified | (np.isfinite(x.value) & ~finite)
    return replace(
        x,
        result=Result(value, whole, unspecified),
        derived=derived,
        errors=errors,
        terms=0,
        peak=domain.peak(value),
        affine=None,
        linear=None,
    )


def spacing_of(x: Array) -> Array:
    """The distance of bfloat16 numbers of that size."""
    return np.asarray(np.ldexp(1.0, np.frexp(x)[1] - BITS))


def stretched(errors: Array, spacing: Array) -> Array:
    """Samples of errors that reach as far as errors do, if that is no farther than the next number."""
    size = np.abs(errors)
    return np.copysign(np.maximum(size, np.minimum(REACH * size, spacing)), errors)


def flips(x: Array, variance: Array) -> Array:
    """The variance of r(x + e) - r(x) - e, where some number between lies within REACH sigma of e; elsewhere 0.

    Both roundings are off by half a spacing at most, that of the largest number that x + e may be. A number that flips
    between being a zero and the smallest normal one moves by that.
    """
    reach = REACH * np.sqrt(variance)
    distance = rounded(x + reach) - rounded(x - reach)
    spacing = np.maximum(spacing_of(np.maximum(np.abs(x), reach)), SMALLEST_NORMAL)
    return np.asarray(np.square(np.minimum(distance, spacing)) / 4)
