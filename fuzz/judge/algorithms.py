"""What the reference must know of the algorithms that a plan names: how each long sum of a graph is evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

import reference
from nn512.algebra.cook_toom import Matrix, Transform, cook_toom
from nn512.algebra.linear import is_dyadic, program_of
from nn512.graph import BatchNorm, Graph
from nn512.plan.plan import PlannedAxis, PlannedLayer, PlannedTiles

INFINITY = "inf"
"""The name of the last point in plans."""


def rounding_of(graph: Graph, layers: Sequence[PlannedLayer]) -> dict[str, reference.Rounding]:
    """How the tensors are evaluated that long sums produce, where that is not directly in float32, by a plan."""
    found = {}
    sums = set(reference.long_sums(graph))
    for layer in layers:
        # Several layers may stand for a node, but one of them does its sums.
        rounding = rounding_by(layer, folds=_folds(graph, layer))
        if rounding is not None:
            found.update(dict.fromkeys(sums.intersection(layer.covers), rounding))
    return found


def _folds(graph: Graph, layer: PlannedLayer) -> bool:
    """Whether a batch norm may be folded into the weights of a layer: one of what the layer itself computes."""
    inside = set(layer.covers)
    norms = (node for node in graph.layers if isinstance(node, BatchNorm) and node.to_tensor in inside)
    return any(norm.from_tensor in inside for norm in norms)


def rounding_by(layer: PlannedLayer, *, folds: bool) -> reference.Rounding | None:
    """How a layer is evaluated; None where that is directly in float32. `folds`: weights may hold a batch norm."""
    narrow = None
    if layer.weights == "bf16":
        narrow = reference.FOLDED_BFLOAT16 if folds else reference.BFLOAT16
    elif layer.weights == "fp16":
        narrow = reference.HALF_WEIGHTS
    if layer.tiles is None:
        return narrow
    return replace(narrow or reference.Rounding(), tiles=tiles_of(layer.arithmetic, layer.tiles))


def tiles_of(arithmetic: str, tiles: PlannedTiles) -> reference.Tiles:
    """The algorithm of tiles. Raises ValueError for one that is not known."""
    if arithmetic == "winograd":
        return winograd(_transform(tiles.rows), _transform(tiles.columns))
    if arithmetic == "fourier":
        return reference.Fourier((tiles.rows.outputs, tiles.columns.outputs), (tiles.rows.size, tiles.columns.size))
    raise ValueError(f"no algorithm with tiles is called {arithmetic!r}")


def winograd(rows: Transform, columns: Transform, *, exact: bool = True) -> reference.Winograd:
    """Winograd's algorithm with these transforms; not `exact` where they may be programmed otherwise than we do."""
    return reference.Winograd.of(_axis(rows, exact=exact), _axis(columns, exact=exact))


def _transform(axis: PlannedAxis) -> Transform:
    if axis.size == 1:
        return cook_toom(1, 1)
    return cook_toom(axis.outputs, axis.taps, [Fraction(point) for point in axis.points if point != INFINITY])


def _axis(transform: Transform, *, exact: bool) -> reference.Axis:
    """The transform in floats. Rows of the weights' matrix are multiplied by what makes all their entries integers.

    It may be exact if all constants are numbers of float32 in the programs that kernels write.
    """
    divisors = [math.lcm(*(entry.denominator for entry in row)) for row in transform.weights]
    weights = tuple(tuple(entry * d for entry in row) for row, d in zip(transform.weights, divisors, strict=True))
    programs = [program_of(matrix) for matrix in (transform.inputs, transform.results)]
    sums = (one for program in programs for one in (*program.sums, *program.results))
    return reference.Axis(
        inputs=_floats(transform.inputs),
        weights=_floats(weights),
        divisors=np.array(divisors, np.float64),
        results=_floats(transform.results),
        is_exact=exact and all(is_dyadic(term.factor) for one in sums for term in one.terms),
    )


def _floats(matrix: Matrix) -> NDArray[np.float64]:
    return np.array([[float(entry) for entry in row] for row in matrix])
