"""Layer normalization over channels."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import LayerNorm
from reference.evaluation import Evaluation
from reference.kinds.kind import Kind
from reference.normalized import evaluated, per_channel
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array


def value(x: Array, scales: Array, shifts: Array, node: LayerNorm) -> Array:
    """At every position, over channels c: scales[c] * (x[c] - m) / sqrt(v + Epsilon) + shifts[c]; shape unchanged.

    m is the mean of x over the channels, v the mean of (x - m)^2: two passes over the data, as the mean of x^2 minus
    m^2 would lose everything where the mean is large beside the spread. A position that holds NaN or an infinity is NaN
    in every channel. Where v + Epsilon is so small that squares fall below the normal numbers of float32, or (x - m)^2
    sums to more than float32 holds, the position is unspecified.
    """
    centred = x - x.mean(axis=0)
    factor = 1 / np.sqrt(np.square(centred).mean(axis=0) + node.epsilon)
    return np.asarray(centred * factor * per_channel(scales, x) + per_channel(shifts, x))


class LayerNormKind(Kind[LayerNorm]):
    """LayerNorm: see `value`."""

    node = LayerNorm

    def evaluate(self, at: Evaluation[LayerNorm]) -> Tensor:
        """See `Kind`."""
        scales, shifts = at.parameter("Scales"), at.parameter("Shifts")
        return evaluated(at, lambda x: value(x, scales, shifts, at.layer), scales, shifts, at.layer.epsilon)

    def step(self, at: Stepping[LayerNorm]) -> Stepped:
        """See `Kind`. Nothing is exact."""
        (x,) = at.reads
        y = value(x.value, at.parameter("Scales"), at.parameter("Shifts"), at.layer)
        return Stepped.leaf(y, np.zeros_like(x.exact))
