"""Channel shuffles."""

from __future__ import annotations

import numpy as np

from nn512.graph.nodes import Shuffle
from reference.evaluation import Evaluation
from reference.kinds.kind import Kind
from reference.moving import elsewhere, moved, moved_step
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array


def value(x: Array, groups: int) -> Array:
    """With C channels in g groups, channel j g + i of the result is channel i C / g + j of `x`.

    Nothing is computed: NaN and infinities stay what they are.
    """
    return x[np.arange(len(x)).reshape(groups, -1).T.ravel()]


class ShuffleKind(Kind[Shuffle]):
    """Shuffle: see `value`."""

    node = Shuffle

    def evaluate(self, at: Evaluation[Shuffle]) -> Tensor:
        """See `Kind`. Nothing is computed, so nothing is added to the variance."""
        (x,), groups = at.reads, at.layer.groups
        origins = elsewhere(x.origins, at.layer.key) if 1 < groups < len(x.value) else x.origins
        return moved(at, lambda arrays, _: value(arrays[0], groups), origins)

    def step(self, at: Stepping[Shuffle]) -> Stepped:
        """See `Kind`."""
        return moved_step(at.reads, lambda arrays, _: value(arrays[0], at.layer.groups))
