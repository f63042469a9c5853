"""Batch norms that may become part of the layer whose result they read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nn512.graph.graph import Graph
from nn512.graph.nodes import BatchNorm, Conv, FullyConnected
from reference.ops import Array
from reference.walk import Single


@dataclass(frozen=True, slots=True)
class Norm:
    """One batch norm, or several in a row, as y = factor x + shift, per channel."""

    factor: Array
    shift: Array


def norms_behind(graph: Graph, params: Mapping[str, Single]) -> dict[str, list[Norm]]:
    """By the tensor of a convolution or fully connected layer, the batch norms that may be folded into it."""
    found: dict[str, list[Norm]] = defaultdict(list)
    sources: dict[str, tuple[str, Norm | None]] = {}
    for layer in graph.layers:
        match layer:
            case Conv() | FullyConnected():
                sources[layer.to_tensor] = layer.to_tensor, None
            case BatchNorm() if layer.from_tensor in sources:
                source, before = sources[layer.from_tensor]
                norm = _norm(layer, params)
                if before is not None:
                    norm = Norm(before.factor * norm.factor, before.shift * norm.factor + norm.shift)
                found[source].append(norm)
                sources[layer.to_tensor] = source, norm
            case _:
                pass
    return found


def _norm(layer: BatchNorm, params: Mapping[str, Single]) -> Norm:
    means, variances, scales, shifts = (
        params[layer.to_tensor + name].astype(np.float64) for name in ("Means", "Variances", "Scales", "Shifts")
    )
    with np.errstate(all="ignore"):
        factor = scales / np.sqrt(variances + layer.epsilon)
        return Norm(factor, shifts - means * factor)
