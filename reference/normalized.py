"""What float32 may do to a normalization over channels: (x - m) / sqrt(power + epsilon), of centred x or of x itself.

With z the normalized value, r = 1 / sqrt(power + epsilon) and n channels, the errors of a position are:

* Those of what is read, through the Jacobian dz_i/dx_j = r ((i = j) - 1/n - z_i z_j / n); without the 1/n where nothing
  is centred. Errors as large as the spread itself do not act linearly. They may take power from the square of its root
  to that of its root minus REACH times their own root mean square, and r, which only grows on that way, is taken there.
  Their squares matter where the Jacobian is 0 (z of two channels is 1 and -1 whatever they are, or 0 twice). Where
  nothing is left of power, and epsilon is less than what they may add, z may be anything: how far it can be away counts
  as CERTAIN sigma.
* That of the mean, in two passes: the sum of n terms, and two roundings. It moves all channels together, by r times
  itself, so a mean that is large beside the spread costs as many digits as it is larger. It adds its square to power.
* That of r: half the relative error of power, which is a sum of squares, a division, an addition and what the mean
  adds; a root and a division. All channels have it in common, too.
* A rounding of the difference and of each product, of the sum with the shift.

No normalized value is larger than sqrt(n), whatever errs: that bounds all but the last.

What channels have in common is sampled so (see `reference.samples`): sums over channels behind it would not average it
away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference import domain, samples
from reference.accumulation import REACH
from reference.evaluation import NOTHING, Evaluation
from reference.grid import CERTAIN, certain_error
from reference.roundoff import ROUNDING, SMALLEST_NORMAL, STEP, TINY
from reference.tensor import Tensor
from reference.windows import Array, Mask

LEAST_POWER = 2.0**-120
"""Power plus epsilon below which squares may be lost that matter."""


def per_channel(values: Array, x: Array) -> Array:
    """One value per channel, for arrays whose first axis channels are."""
    return np.asarray(values.reshape(-1, *(1,) * (x.ndim - 1)))


def summed(terms: Array) -> Array:
    """Variance that a float32 sum over the first axis adds, in any order: see `reference.accumulation`.

    Where terms are sorted the partial sums climb, and where they are equal their roundings are, too.
    """
    partial = np.cumsum(terms, axis=0)
    random = np.square(partial[-1]) / 3 + np.square(terms).sum(axis=0) / 2
    wandering = np.maximum(np.square(partial).mean(axis=0), random)
    return np.asarray(STEP * len(terms) * wandering + np.square(certain_error(np.moveaxis(terms, 0, -1)) / CERTAIN))


@dataclass(frozen=True, slots=True)
class Errors:
    """Variances of z, C x H x W but for what channels have in common, 1 x H x W.

    read: from what is read. mean: of the mean, times r^2. factor: of r, relative. own: of the last roundings.
    """

    read: Array
    mean: Array
    factor: Array
    own: Array


def errors_of(x: Array, before: Array, epsilon: float, *, centred: bool) -> tuple[Array, Errors, Array]:
    """The normalized values, how far float32 may lie from them, and the least power plus epsilon on the way."""
    count = len(x)
    mean = x.mean(axis=0, keepdims=True) if centred else np.zeros((1, *x.shape[1:]))
    distance = x - mean
    power = np.square(distance).mean(axis=0, keepdims=True)
    z = distance / np.sqrt(power + epsilon)
    v = np.broadcast_to(before, x.shape)

    reach = REACH * np.sqrt(v.mean(axis=0, keepdims=True))
    nearest = np.maximum(np.sqrt(power) - reach, 0.0)
    least = np.square(nearest) + epsilon
    r = 1 / np.sqrt(least)

    part = float(centred)
    itself = part + np.square(z)  # n times what a channel takes off its own share
    sums = [(np.power(z, k) * v).sum(axis=0, keepdims=True) for k in range(3)]
    all_channels = (part * sums[0] + 2 * part * z * sums[1] + np.square(z) * sums[2]) / count**2
    rest = np.maximum(all_channels - v * np.square(itself / count), 0.0)
    read = np.square(r) * (v * np.square(np.maximum(1 - itself / count, 0.0)) + rest)
    read = read + np.square(REACH / 2 * np.square(r) * v.mean(axis=0, keepdims=True)) * (1 + np.square(z))
    anything = np.square((math.sqrt(count) + np.abs(z)) / CERTAIN)
    read = np.where((nearest == 0) & (np.square(reach) > epsilon), np.maximum(read, anything), read)

    rounded = 2 * (ROUNDING * np.square(mean) + TINY**2)
    of_mean = summed(x) / count**2 + rounded if centred else np.zeros_like(mean)
    of_mean = np.square(r) * of_mean
    squares = summed(np.square(distance)) / count**2 + 8 * ROUNDING * np.square(power)
    squares = (squares + SMALLEST_NORMAL**2) / np.square(least) + ROUNDING
    moved = REACH / 2 * of_mean  # power grows by up to the square of REACH times the error of the mean
    factor = squares / 4 + 2 * ROUNDING + np.square(moved)
    own = 2 * ROUNDING * np.square(z) + TINY**2
    return z, Errors(read, of_mean, factor, own), least


def evaluated(
    at: Evaluation[Any], value: Callable[[Array], Array], scales: Array, shifts: Array | None, epsilon: float
) -> Tensor:
    """The tensor of a normalization that computes `value`; it is centred where it has shifts."""
    (read,) = at.reads
    x, count = read.value, len(read.value)
    centred = shifts is not None
    scale, shift = per_channel(scales, x), per_channel(np.zeros(count) if shifts is None else shifts, x)
    y = value(x)
    z, parts, least = errors_of(x, read.mixed_variance, epsilon, centred=centred)
    _, alone, _ = errors_of(x, NOTHING, epsilon, centred=centred)

    last = ROUNDING * (np.square(scale * z) + np.square(y)) + TINY**2
    whole = parts.read + parts.mean + np.square(z) * parts.factor + parts.own
    derived = np.square(scale) * np.minimum(whole, count) + last

    errors = samples.difference(value, x, read.errors, y)
    for variance, response, what in (
        (np.minimum(alone.mean, count), np.ones_like(z), x.mean(axis=0, keepdims=True)),
        (np.minimum(alone.factor, 1.0), z, least),
    ):
        common = at.sampler.none(what.shape)
        at.sampler.add_own(common, np.where(np.isfinite(variance), variance, 0.0), what)
        errors += (scale * response)[:, np.newaxis] * common
    own = np.square(scale) * alone.own + last

    mask = read.unspecified.any(axis=0) | _beyond(x, least[0]) | _unusable(scale, shift, count)
    return at.finish(y, derived, (errors, own), mask)


def _beyond(x: Array, least: Array) -> Mask:
    """Positions whose sums may overflow, or whose squares may be lost. What is not finite follows IEEE."""
    sizes = domain.finite_magnitude(x)
    large = (sizes.sum(axis=0) > domain.SAFE) | (np.square(2 * sizes).sum(axis=0) > domain.SAFE)
    return np.asarray(np.isfinite(x).all(axis=0) & (large | (least < LEAST_POWER)))


def _unusable(scale: Array, shift: Array, count: int) -> Mask:
    """Channels with a parameter that is not finite, or that may overflow."""
    reach = np.abs(scale) * np.sqrt(count) + np.abs(shift)
    return np.asarray(~(reach <= domain.SAFE))
