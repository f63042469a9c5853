"""Concatenation of channels."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Concat
from reference.evaluation import Evaluation
from reference.kinds.kind import Kind
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array


def value(x1: Array, x2: Array) -> Array:
    """The channels of `x1` followed by those of `x2`; both have the same height and width.

    y[c] = x1[c] where c < C1, otherwise x2[c - C1]. Nothing is computed: NaN and infinities stay what they are.
    """
    return np.concatenate((x1, x2))


class ConcatKind(Kind[Concat]):
    """Concat: see `value`."""

    node = Concat

    def evaluate(self, at: Evaluation[Concat]) -> Tensor:
        """See `Kind`. Nothing is computed, so nothing is added to the variance."""
        x1, x2 = at.reads
        y = value(x1.value, x2.value)
        derived = np.concatenate((x1.derived, x2.derived))
        sampled = (np.concatenate((x1.errors, x2.errors)), np.zeros_like(derived))
        unspecified = np.concatenate((x1.unspecified, x2.unspecified))
        terms, peak = max(x1.terms, x2.terms), max(x1.peak, x2.peak)
        shifted = frozenset((name, channel + len(x1.value)) for name, channel in x2.origins)
        origins = x1.origins | shifted
        return at.finish(y, derived, sampled, unspecified, terms=terms, peak=peak, origins=origins)

    def step(self, at: Stepping[Concat]) -> Stepped:
        """See `Kind`."""
        x1, x2 = at.reads
        exact, bound = np.concatenate((x1.exact, x2.exact)), np.concatenate((x1.bound, x2.bound))
        return Stepped(value(x1.value, x2.value), exact, bound, min(x1.step, x2.step))
