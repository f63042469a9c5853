"""Division by the root mean square over channels."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import RMSNorm
from reference.evaluation import Evaluation
from reference.kinds.kind import Kind
from reference.normalized import evaluated, per_channel
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array


def value(x: Array, scales: Array, node: RMSNorm) -> Array:
    """At every position, over channels c: scales[c] * x[c] / sqrt(mean of x^2 + Epsilon); shape unchanged.

    A position that holds NaN is NaN in every channel. One that holds an infinity is NaN where that is and 0 elsewhere.
    Where the mean of x^2 plus Epsilon is so small that squares fall below the normal numbers of float32, or x^2 sums to
    more than float32 holds, the position is unspecified.
    """
    factor = 1 / np.sqrt(np.square(x).mean(axis=0) + node.epsilon)
    return np.asarray(x * factor * per_channel(scales, x))


class RMSNormKind(Kind[RMSNorm]):
    """RMSNorm: see `value`."""

    node = RMSNorm

    def evaluate(self, at: Evaluation[RMSNorm]) -> Tensor:
        """See `Kind`."""
        scales = at.parameter("Scales")
        return evaluated(at, lambda x: value(x, scales, at.layer), scales, None, at.layer.epsilon)

    def step(self, at: Stepping[RMSNorm]) -> Stepped:
        """See `Kind`. Nothing is exact."""
        (x,) = at.reads
        return Stepped.leaf(value(x.value, at.parameter("Scales"), at.layer), np.zeros_like(x.exact))
