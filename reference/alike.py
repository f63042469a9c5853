"""Random signs that equal numbers have in common: a hash of the number itself, odd as roundings are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reference.ops import Array

ALIKE = 12
"""Bits of significand, the leading one aside, in which numbers agree that count as equal. Of random numbers of one size
one pair in 2^12 does."""

_DROPPED = np.uint32(23 - ALIKE)
_HALF = np.uint32(1 << (22 - ALIKE))
_TOP = np.uint32(1 << 31)


def with_signs(sizes: Array, values: Array, multipliers: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """`sizes`, C x H x W, with the sign of `values` times a random one for each of S multipliers: C x S x H x W.

    Multipliers are odd numbers, drawn at random.
    """
    bits = values.astype(np.float32).view(np.uint32)
    hashed = _mixed((bits & ~_TOP) + _HALF >> _DROPPED)[:, np.newaxis] * multipliers[:, np.newaxis, np.newaxis]
    hashed ^= (bits & _TOP)[:, np.newaxis]
    return np.copysign(sizes.astype(np.float32)[:, np.newaxis], hashed.view(np.float32))


def _mixed(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """A hash: the finalizer of MurmurHash3."""
    bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> np.uint32(16))
