"""Slices: some of the channels, rows or columns of a tensor."""

from __future__ import annotations

import numpy as np

from nn512.graph.axes import AXES
from nn512.graph.nodes import Slice
from reference.evaluation import Evaluation
from reference.kinds.kind import Kind
from reference.moving import elsewhere, moved, moved_step, shifted
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array


def value(x: Array, node: Slice) -> Array:
    """Along the axis the elements From, From + Step, ..., From + (Count - 1) Step of `x`, numbered from 0.

    Nothing is computed: NaN and infinities stay what they are. What is not taken has no influence.
    """
    return _taken(x, node, AXES.index(node.axis))


def _taken(x: Array, node: Slice, axis: int) -> Array:
    return np.take(x, node.first + node.step * np.arange(node.count), axis)


class SliceKind(Kind[Slice]):
    """Slice: see `value`."""

    node = Slice

    def evaluate(self, at: Evaluation[Slice]) -> Tensor:
        """See `Kind`. Nothing is computed, so nothing is added to the variance."""
        (x,), node = at.reads, at.layer
        together = node.axis == AXES[0] and (node.step == 1 or node.count == 1)
        origins = shifted(x.origins, -node.first) if together else elsewhere(x.origins, node.key)
        return moved(at, lambda arrays, axes: _taken(arrays[0], node, axes[AXES.index(node.axis)]), origins)

    def step(self, at: Stepping[Slice]) -> Stepped:
        """See `Kind`."""
        node = at.layer
        return moved_step(at.reads, lambda arrays, axes: _taken(arrays[0], node, axes[AXES.index(node.axis)]))
