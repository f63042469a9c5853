"""Concatenation of tensors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from nn512.graph.axes import AXES, extent_of
from nn512.graph.nodes import Concat, Shape
from reference.evaluation import Evaluation
from reference.kinds.kind import Kind
from reference.moving import Origins, elsewhere, moved, moved_step, shifted
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array


def value(*xs: Array, axis: int = 0) -> Array:
    """The tensors one behind another along the axis: 0 channels, 1 rows, 2 columns. In the other two all are alike.

    Of two and channels, y[c] = x1[c] where c < C1, otherwise x2[c - C1]. Nothing is computed: NaN and infinities stay
    what they are.
    """
    return np.concatenate(xs, axis)


class ConcatKind(Kind[Concat]):
    """Concat: see `value`."""

    node = Concat

    def evaluate(self, at: Evaluation[Concat]) -> Tensor:
        """See `Kind`. Nothing is computed, so nothing is added to the variance."""
        axis = AXES.index(at.layer.axis)
        return moved(at, lambda arrays, axes: value(*arrays, axis=axes[axis]), _origins(at))

    def step(self, at: Stepping[Concat]) -> Stepped:
        """See `Kind`."""
        axis = AXES.index(at.layer.axis)
        return moved_step(at.reads, lambda arrays, axes: value(*arrays, axis=axes[axis]))


def _origins(at: Evaluation[Concat]) -> Origins:
    reads: Sequence[Tensor] = at.reads
    extents = [extent_of(Shape(*x.value.shape), at.layer.axis) for x in reads]
    starts = itertools.accumulate(extents[:-1], initial=0)
    pairs = zip(reads, starts, strict=True)
    if at.layer.axis == AXES[0]:
        return frozenset().union(*(shifted(x.origins, start) for x, start in pairs))
    return frozenset().union(*(elsewhere(x.origins, (at.layer.axis, start)) for x, start in pairs))
