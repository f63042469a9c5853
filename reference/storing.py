"""Tensors that are stored in a narrower format than float32, by systems that round all that layers hand on.

A system that does so need not round every tensor: layers it has merged hand theirs on as they are. So the value stays
what it is, and rounding it counts as an error, which layers behind it may see or not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference.roundoff import SMALLEST_NORMAL
from reference.samples import Sampler, mean_square
from reference.tensor import Result, Tensor


def as_stored(x: Tensor, error: float, sampler: Sampler) -> Tensor:
    """A tensor of which every element may be off by `error` times its magnitude, and is a zero where it is subnormal.

    Errors are uniform up to that bound. Equal elements err alike.
    """
    if error == 0:
        return x
    size = np.where(np.isfinite(x.value), error * np.abs(x.value) + SMALLEST_NORMAL, 0.0)
    own = np.square(size) / 3
    errors = x.errors.copy()
    sampler.add_own(errors, own, x.value)
    derived = x.derived + own
    whole = np.fmax(derived, mean_square(errors))
    return replace(x, result=Result(x.value, whole, x.unspecified), derived=derived, errors=errors)
