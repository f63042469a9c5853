"""A tensor while it is found out where float32 has no freedom, and sums of which all terms are multiples of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
import numpy.typing as npt

from reference.domain import SAFE
from reference.evaluation import L
from reference.exchange import Linear
from reference.rounding import DEFAULT, Rounding
from reference.windows import Array, Mask

NONE = 1000
"""Exponent of the step of zeros, which are multiples of everything."""

SMALLEST_NORMAL_STEP = -126
"""Exponent of the smallest normal float32."""

SMALLEST_STEP = -149
"""Exponent of the smallest subnormal float32."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A tensor during the walk of `reference.exactness`.

    exact: elements without freedom.
    bound: bound on the partial sums behind each element, fused with linear nodes or not.
    step: exponent of a power of two that divides all those partial sums of exact elements.
    narrow: whether a batch norm that reads this may be folded into weights of fewer bits than a float's.
    apart: of the result of a batch norm: bound and step of what it adds up, which stands in the sums of the next layer
        where the batch norm is folded forward.
    linear: how to compute this on averages of what it was computed from, if an average may come of it.
    """

    value: Array
    exact: Mask
    bound: Array
    step: int
    narrow: bool = False
    apart: tuple[Array, int] | None = None
    linear: Linear[Stepped] | None = None

    @classmethod
    def leaf(cls, value: Array, exact: Mask) -> Stepped:
        """A tensor that nothing later is fused into: every element stands for itself."""
        return cls(value, exact, np.abs(value), step_of(value[exact]))

    @classmethod
    def of_sum(cls, value: Array, exact: Mask, bound: Array, step: int, limit: float) -> Stepped:
        """A sum whose terms are multiples of 2^step and sum to `bound` in absolute value."""
        fits = bound <= min(float(np.ldexp(limit, step)), SAFE)
        return cls(value, exact & fits & (step >= SMALLEST_STEP), bound, step)


@dataclass(frozen=True, slots=True)
class Stepping(Generic[L]):
    """A layer with what it reads, as Evaluation has it; `limit` is the largest number of steps of a sum."""

    layer: L
    reads: Sequence[Stepped]
    params: Mapping[str, Array]
    limit: float
    rounding: Rounding = DEFAULT

    def parameter(self, suffix: str) -> Array:
        """A parameter in float64."""
        return self.params[self.layer.to_tensor + suffix]

    def on(self, x: Stepped) -> Stepping[L]:
        """The same layer on another tensor."""
        return replace(self, reads=[x])


def step_of(values: Array) -> int:
    """Exponent of the largest power of two that divides all finite values; NONE if all are zero."""
    return int(steps_of(values.ravel()))


def steps_of(values: Array) -> npt.NDArray[np.int64]:
    """The same of every row, along the last axis."""
    usable = np.isfinite(values) & (values != 0)
    mantissas, exponents = np.frexp(np.where(usable, values, 1.0))
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    zeros = np.frexp((integers & -integers).astype(np.float64))[1] - 1  # behind the last bit that is one
    return np.asarray(np.where(usable, exponents - 53 + zeros, NONE).min(axis=-1, initial=NONE), np.int64)


def storable(weights: Array, rounding: Rounding) -> Mask:
    """Which output channels (the first axis) have weights that are stored without an error."""
    rows = np.abs(weights.reshape(len(weights), -1))
    mantissas = np.ldexp(np.frexp(rows)[0], rounding.weight_bits)
    small = rows < np.maximum(rounding.weight_floor, rounding.weight_span * rows.max(axis=1, keepdims=True))
    return np.asarray(((mantissas == np.rint(mantissas)) & ((rows == 0) | ~small)).all(axis=1))
