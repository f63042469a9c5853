"""How far the partial sums of an accumulation wander where the signs of its products are not random.

`reference.accumulation` takes the sign of each product as random, so that partial sums wander like a random walk and
their mean square is y^2/3 + Q/2, with Q the sum of squared products. That is too little for two kinds of data.

* Runs: all taps of a channel have the same sign where the channel has one and the filter another, as behind filters of
  one sign each. A sum that goes channel by channel then walks in steps as long as a whole channel, and likewise one
  that goes tap by tap. The sum of squared steps stands in for Q.
* Climbs: products sorted by sign or by size, along channels or along taps, lead to a peak of order K before they come
  back, and every rounding on the way is relative to where the sum is. The mean square of the partial sums is measured:
  of a walk in at most STEPS straight lines, each a block of channels (or taps) as long as the others,

      M = mean over the lines from s to t of (s^2 + s t + t^2) / 3,

  and Q is replaced so that y^2/3 + Q/2 is M. What a block of n products hides is a climb within it, of at most n
  products: beside the sqrt(K/2) products that a random walk of K takes, that is K/16 < 3 sqrt(K/2) to K = 1000.

Both orders, by channels and by taps, are looked at, and the largest Q of the four is taken. It is hardly more than the
sum of squared products where signs are random, and much less than y^2 where there is only one sign.

Measured on emitted C, the largest error in sigma over the layers 1x1x512, 1x1x2048, 3x3x64, 3x3x512, 3x3x2048 and
5x5x64, limit 12:

                                                   random signs    with runs alone    with climbs
    weights sorted by sign, positive inputs                53.3               53.3           4.0
    weights ascending, inputs 1                            34.8               34.8           2.3
    weights ascending, positive inputs                     58.7               58.7           3.9
    weights descending tap by tap, positive inputs         45.7               45.7           4.7
    5x5 filters of one sign, channels of either sign        9.7                2.8             -

A dropped tap of such filters gives 10^2 and more all the same.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference.lines import as_convolutions, columns_of, orders_of
from reference.windows import Array, Window

STEPS = 16
"""Straight lines that a walk has at most."""

SHORT = 16
"""Sums of up to so many products climb no higher than a random walk may."""


class Walk(NamedTuple):
    """What the partial sums of a layer's outputs do, K x OH x OW each.

    excess: what stands in for the sum of squared products Q exceeds it by so much.
    climb: the largest magnitude of a partial sum, at the ends of the lines.
    """

    excess: Array
    climb: Array


def conv(x: Array, weights: Array, window: Window) -> Walk | None:
    """The walks of a convolution without its biases; None where there are too few products for it to matter."""
    if weights[0].size <= SHORT:
        return None
    groups = len(x) // weights.shape[1]
    orders = orders_of(weights, groups, STEPS)
    squares = np.square(weights).reshape(groups, len(weights) // groups, -1)
    parts, size = [], window.result_size(x)
    for columns in columns_of(x, weights, window, STEPS):
        q = squares @ np.square(columns).reshape(groups, squares.shape[2], -1)
        walks = [_walk(order.steps(columns), q) for order in orders]
        parts.append(np.maximum.reduce(walks).reshape(2, len(weights), -1))
    excess, climb = np.concatenate(parts, axis=2).reshape(2, len(weights), *size)
    return Walk(excess, climb)


def fully_connected(x: Array, weights: npt.NDArray[np.floating]) -> Walk | None:
    """The same of a fully connected layer, whose taps are the pixels of `x`: K x 1 x 1."""
    if x.size <= SHORT:
        return None
    walks = [conv(x, block, window) for block, window in as_convolutions(x, weights)]
    excess, climb = (np.concatenate(arrays) for arrays in zip(*(walk for walk in walks if walk), strict=True))
    return Walk(excess, climb)


def _walk(steps: Array, q: Array) -> Array:
    """Excess and climb of walks with these steps, S x G x K/G x P, whose squared products sum to `q`."""
    sums = steps.copy()
    for before, after in itertools.pairwise(sums):
        np.add(before, after, out=after)  # eight times as fast as np.cumsum along the first axis
    last = np.square(sums[-1])
    ends = np.einsum("sgkp,sgkp->gkp", sums, sums)
    between = np.einsum("sgkp,sgkp->gkp", sums[1:], sums[:-1])
    mean_square = (2 * ends - last + between) / (3 * len(steps))
    largest = np.maximum(np.einsum("sgkp,sgkp->gkp", steps, steps), 2 * (mean_square - last / 3))
    return np.stack((np.maximum(largest - q, 0.0), np.abs(sums).max(axis=0)))
