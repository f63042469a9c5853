"""Where a float32 evaluation has no freedom: the outputs for which every partial sum, in any order, is exact.

Such an output must match the reference in value (-0 equals +0) whatever the compiler did: reordered sums, fused
residuals, folded batch normalization, averages taken before 1x1 convolutions. Numbers are counted in steps, a power of
two that divides every term of a sum: if the terms' absolute values sum to at most 2^24 steps, every partial sum is a
float32. Algorithms that compute other intermediates (Winograd) need a smaller limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nn512.graph.graph import Graph
from nn512.graph.nodes import tensors_read
from reference.exchange import linear_of
from reference.kinds import kind_of
from reference.rounding import DEFAULT, Rounding
from reference.stepping import Stepped, Stepping
from reference.walk import before_averages, check_arrays, check_inputs, check_names, schedule
from reference.windows import Array, Mask

EXACT_STEPS = 2.0**24
"""Integers up to here are float32 numbers."""


def exactness(
    graph: Graph,
    params: Mapping[str, npt.ArrayLike],
    inputs: Mapping[str, npt.ArrayLike],
    *,
    keep: Collection[str] | None = None,
    limit: float = EXACT_STEPS,
    rounding: Mapping[str, Rounding] | None = None,
) -> dict[str, Mask]:
    """A C x H x W mask for every output (or tensor of `keep`), True where float32 has to give the reference value.

    Arguments as for `reference.run`; `limit` is the largest number of steps a sum of absolute values may have.
    Weights that the format in `rounding` cannot hold make nothing exact.
    """
    wanted = tuple(node.from_tensor for node in graph.outputs) if keep is None else tuple(keep)
    formats = {} if rounding is None else dict(rounding)
    check_names(graph, wanted, formats)
    checked = check_arrays("parameter", {p.name: p.shape for p in graph.parameters}, params)
    parameters = {name: array.astype(np.float64) for name, array in checked.items()}
    live = {name: _leaf(array.astype(np.float64)) for name, array in check_inputs(graph, inputs).items()}
    results = {name: live[name].exact for name in wanted if name in live}
    averaged = before_averages(graph)
    with np.errstate(all="ignore"):
        for layer, dead in schedule(graph):
            name = layer.to_tensor
            reads = [live[read] for read in tensors_read(layer)]
            at = Stepping(layer, reads, parameters, limit, formats.get(name, DEFAULT))
            live[name] = kind_of(layer).step(at)
            if name in averaged:
                live[name] = _with_linear(at, live[name])
            if name in wanted:
                results[name] = live[name].exact
            for tensor in dead:
                del live[tensor]
    return {name: results[name] for name in wanted}


def _leaf(value: Array) -> Stepped:
    return Stepped.leaf(value, np.isfinite(value))


def _with_linear(at: Stepping[Any], done: Stepped) -> Stepped:
    """What a layer produced, with `linear` where it has one."""
    kind = kind_of(at.layer)

    def of(other: Stepped) -> Stepped:
        return kind.step(at.on(other))

    x = at.reads[0]
    linear = linear_of(kind.role(at.layer), x, x.linear, of, np.positive)
    return done if linear is None else replace(done, linear=linear)
