"""Evaluates a graph node by node: the value in float64 and beside it the variance of a float32 evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from nn512.errors import UsageError
from nn512.graph.graph import Graph
from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Layer,
    Pooling,
    Softmax,
    tensor_written,
    tensors_read,
)
from reference import common, domain, fast, ops, variance
from reference.ops import Array, Mask
from reference.rounding import DEFAULT, Rounding
from reference.variance import Affine

Single: TypeAlias = npt.NDArray[np.float32]

MIXING = 8
"""A sum of this many products leaves so little of each single error that it counts as independent of what it reads."""


@dataclass(frozen=True, slots=True)
class Result:
    """One tensor: three arrays of its shape C x H x W.

    value: float64, the real result; NaN and infinities are part of the specification.
    variance: float64, variance of the error of a float32 evaluation; 0 where the value is not finite.
    unspecified: True where nothing is promised about the value.
    """

    value: Array
    variance: Array
    unspecified: Mask


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor during evaluation: its Result and what later nodes must know about its errors.

    origins: tensors whose errors reach this one element by element, each with the channel at which its channel 0 lies
        here. Two tensors with one in common have correlated errors; one name at several channels is the same error
        several times.
    terms: length of the accumulation this is a linear function of, element by element (a later node may be fused into
    it); else 0.
    peak: bound on the magnitude of every partial sum behind the finite elements.
    mode: the error that all elements have in common (see `reference.common`), if any; mode^2 is part of the variance.
    affine: of the result of a BatchNorm what a later layer may read instead of it.
    """

    value: Array
    variance: Array
    unspecified: Mask
    origins: frozenset[tuple[str, int]]
    terms: int
    peak: float
    mode: Array | None = None
    affine: Affine | None = None

    @property
    def result(self) -> Result:
        return Result(self.value, self.variance, self.unspecified)

    @property
    def mixed_variance(self) -> Array:
        """The variance to use in a sum over channels: n copies of an error add up to n^2 times its variance, not n."""
        copies = Counter(name for name, _ in self.origins)
        return max(copies.values(), default=1) * self.variance

    @property
    def independent(self) -> Array:
        """That variance without the part of it that is common to all elements."""
        if self.mode is None:
            return self.mixed_variance
        return np.asarray(np.maximum(self.mixed_variance - np.square(self.mode), 0.0))


def run(
    graph: Graph,
    params: Mapping[str, npt.ArrayLike],
    inputs: Mapping[str, npt.ArrayLike],
    *,
    keep: Collection[str] | None = None,
    rounding: Mapping[str, Rounding] | None = None,
) -> dict[str, Result]:
    """Evaluate `graph` and return the tensors named by `keep` (default: those of the Output nodes).

    `params` holds every parameter tensor by its name and `inputs` every tensor of an Input node, all float32 and of
    the graph's shapes. `rounding` says, by the name of the tensor a Conv or FullyConnected produces, how that layer
    is evaluated. Tensors are freed after their last use. Raises UsageError for missing, unknown or ill-shaped arrays,
    other dtypes and unknown names.
    """
    wanted = tuple(node.from_tensor for node in graph.outputs) if keep is None else tuple(keep)
    algorithms = {} if rounding is None else dict(rounding)
    check_names(graph, wanted, algorithms)
    checked_params = check_arrays("parameter", {p.name: p.shape for p in graph.parameters}, params)
    shapes = {node.to_tensor: tuple(graph.shapes[node.to_tensor]) for node in graph.inputs}
    checked_inputs = check_arrays("input", shapes, inputs)

    live = {name: _input(array) for name, array in checked_inputs.items()}
    results = {name: live[name].result for name in wanted if name in live}
    with np.errstate(all="ignore"):
        for layer, dead in schedule(graph):
            name = layer.to_tensor
            live[name] = _evaluate(layer, live, checked_params, algorithms.get(name, DEFAULT))
            if name in wanted:
                results[name] = live[name].result
            for tensor in dead:
                del live[tensor]
    return {name: results[name] for name in wanted}


def check_arrays(
    what: str, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, npt.ArrayLike]
) -> dict[str, Single]:
    """`arrays` if they are float32 and have exactly these names and shapes; else a UsageError naming every fault."""
    problems = [f"unknown {what} {name!r}" for name in sorted(set(arrays) - set(shapes))]
    checked: dict[str, Single] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            problems.append(f"missing {what} {name!r} of shape {_times(shape)}")
            continue
        array = np.asarray(arrays[name])
        if array.shape != shape:
            problems.append(f"{what} {name!r} has shape {_times(array.shape)}, the graph says {_times(shape)}")
        elif array.dtype != np.float32:
            problems.append(f"{what} {name!r} has dtype {array.dtype}; convert it to float32")
        else:
            checked[name] = array
    if problems:
        raise UsageError("; ".join(problems))
    return checked


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"


def check_names(graph: Graph, wanted: Collection[str], rounding: Collection[str] = ()) -> None:
    """UsageError if the graph lacks a wanted tensor, or `rounding` names one that no long sum produces."""
    unknown = sorted(set(wanted) - set(graph.shapes))
    if unknown:
        raise UsageError(f"the graph has no tensor named {', '.join(map(repr, unknown))}")
    sums = {layer.to_tensor for layer in graph.layers if isinstance(layer, Conv | FullyConnected)}
    strange = sorted(set(rounding) - sums)
    if strange:
        raise UsageError(
            f"rounding is given for {', '.join(map(repr, strange))}, but no Conv or FullyConnected produces it"
        )


def schedule(graph: Graph) -> Iterator[tuple[Layer, tuple[str, ...]]]:
    """The layers in order, each with the tensors that are dead after it."""
    last = {name: i for i, layer in enumerate(graph.layers) for name in (*tensors_read(layer), layer.to_tensor)}
    for i, layer in enumerate(graph.layers):
        names = {*tensors_read(layer), tensor_written(layer)}
        yield layer, tuple(name for name in names if name is not None and last[name] == i)


def _input(array: Single) -> _Tensor:
    value = array.astype(np.float64)
    nothing = np.zeros(array.shape)
    return _Tensor(value, nothing, nothing.astype(np.bool_), frozenset(), 0, domain.peak(array))


def _evaluate(layer: Layer, live: Mapping[str, _Tensor], params: Mapping[str, Single], rounding: Rounding) -> _Tensor:
    def parameter(suffix: str) -> Array:
        return params[layer.to_tensor + suffix].astype(np.float64)

    reads = [live[name] for name in tensors_read(layer)]
    x = reads[0]
    match layer:
        case Conv():
            return _conv(layer, x, parameter("Weights"), parameter("Biases"), rounding)
        case FullyConnected():
            return _fully_connected(layer, x, params[layer.to_tensor + "Weights"], parameter("Biases"), rounding)
        case BatchNorm():
            names = ("Means", "Variances", "Scales", "Shifts")
            return _batch_norm(layer, x, *(parameter(name) for name in names))
        case Activation():
            y = ops.activation(x.value, layer)
            after = variance.activation(x.value, x.variance, layer)
            mode = None if x.mode is None else common.activation(x.mode, x.value, x.variance, after, layer)
            return _finish(layer, reads, y, after, x.unspecified, mode=mode)
        case Add():
            return _add(layer, x, reads[1])
        case Concat():
            return _concat(layer, x, reads[1])
        case Pooling():
            y = ops.pooling(x.value, layer)
            after = variance.pooling(x.value, x.variance, y, layer)
            mode = None if x.mode is None else common.pooling(x.mode, layer, after)
            return _finish(layer, reads, y, after, domain.pooling(x.value, x.unspecified, layer), mode=mode)
        case Softmax():
            y = ops.softmax(x.value)
            after = variance.softmax(x.value, x.mixed_variance, y)
            return _finish(layer, reads, y, after, domain.softmax(x.unspecified))
        case _:
            assert_never(layer)


def _conv(layer: Conv, x: _Tensor, weights: Array, biases: Array, rounding: Rounding) -> _Tensor:
    y = fast.conv(x.value, weights, biases, layer)
    one_sided = common.one_sided(weights)
    independent = x.independent if one_sided else x.mixed_variance
    padded = layer.padding_h or layer.padding_w
    affine = None if padded else x.affine
    after = variance.conv(x.value, independent, y, weights, biases, layer, rounding, affine)
    mode = None
    if one_sided:
        ones = np.ones((layer.groups, *weights.shape[1:]))
        boxes = replace(layer, to_channels=layer.groups)

        def total(array: Array) -> Array:
            return np.repeat(fast.correlate(array, ones, boxes), len(weights) // layer.groups, axis=0)

        added, mode = common.weighted_sum(independent, x.mode, lambda a: fast.correlate(a, weights, layer), total)
        after = after + added
    peak = domain.sum_peak(x.value, weights, biases)
    unspecified = domain.conv(x.value, x.unspecified, weights, biases, layer, peak)
    if rounding.tile != (1, 1):
        strange = x.unspecified | ~np.isfinite(x.value)
        unspecified = unspecified | domain.tiles(fast.touched(strange, layer), rounding.tile)
    return _finish(layer, [x], y, after, unspecified, terms=weights[0].size, peak=peak, mode=mode)


def _fully_connected(layer: FullyConnected, x: _Tensor, weights: Single, biases: Array, rounding: Rounding) -> _Tensor:
    y = fast.project(x.value, weights) + biases[:, np.newaxis, np.newaxis]
    one_sided = common.one_sided(weights)
    independent = x.independent if one_sided else x.mixed_variance
    after = variance.fully_connected(x.value, independent, y, weights, biases, rounding, x.affine)
    mode = None
    if one_sided:
        added, mode = common.weighted_sum(
            independent, x.mode, lambda a: fast.project(a, weights), lambda a: np.full(y.shape, a.sum())
        )
        after = after + added
    peak = domain.sum_peak(x.value, weights, biases)
    unspecified = domain.fully_connected(x.value, x.unspecified, weights, biases, peak)
    return _finish(layer, [x], y, after, unspecified, terms=x.value.size, peak=peak, mode=mode)


def _batch_norm(layer: BatchNorm, x: _Tensor, means: Array, variances: Array, scales: Array, shifts: Array) -> _Tensor:
    y = ops.batch_norm(x.value, means, variances, scales, shifts, layer)
    factor = (scales / np.sqrt(variances + layer.epsilon))[:, np.newaxis, np.newaxis]
    mean = means[:, np.newaxis, np.newaxis]
    shift = shifts[:, np.newaxis, np.newaxis] - mean * factor
    after = variance.batch_norm(x.value, x.variance, y, factor, mean, shift, x.terms)
    unspecified = domain.batch_norm(x.unspecified, factor, shift, x.peak)
    peak = x.peak * domain.peak(factor) + domain.peak(shift)
    mode = None if x.mode is None else x.mode * factor
    before = Affine(x.value) if x.affine is None else x.affine
    affine = before.then(factor, shift)
    return _finish(layer, [x], y, after, unspecified, terms=x.terms, peak=peak, mode=mode, affine=affine)


def _add(layer: Add, x1: _Tensor, x2: _Tensor) -> _Tensor:
    y = ops.add(x1.value, x2.value)
    correlated = bool(x1.origins & x2.origins)
    terms = (x1.terms, x2.terms)
    after = variance.add(x1.value, x2.value, (x1.variance, x2.variance), terms, correlated=correlated)
    mode = x2.mode if x1.mode is None else x1.mode
    if x1.mode is not None and x2.mode is not None:
        mode = x1.mode + x2.mode
        after = after if correlated else after + np.maximum(2 * x1.mode * x2.mode, 0.0)
    peaks = (x1.peak, x2.peak)
    accumulated = (x1.peak if x1.terms else 0.0, x2.peak if x2.terms else 0.0)
    unspecified = domain.add(x1.value, x2.value, (x1.unspecified, x2.unspecified), peaks, accumulated)
    return _finish(layer, [x1, x2], y, after, unspecified, terms=max(terms), peak=x1.peak + x2.peak, mode=mode)


def _concat(layer: Concat, x1: _Tensor, x2: _Tensor) -> _Tensor:
    y = ops.concat(x1.value, x2.value)
    after = variance.concat(x1.variance, x2.variance)
    unspecified = np.concatenate((x1.unspecified, x2.unspecified))
    terms, peak = max(x1.terms, x2.terms), max(x1.peak, x2.peak)
    mode = None
    if x1.mode is not None or x2.mode is not None:
        mode = np.concatenate([np.zeros_like(x.value) if x.mode is None else x.mode for x in (x1, x2)])
    return _finish(layer, [x1, x2], y, after, unspecified, terms=terms, peak=peak, mode=mode)


def _finish(
    layer: Layer,
    reads: list[_Tensor],
    value: Array,
    after: Array,
    unspecified: Mask,
    *,
    terms: int = 0,
    peak: float | None = None,
    mode: Array | None = None,
    affine: Affine | None = None,
) -> _Tensor:
    """The tensor a layer produces, completed by what is the same for all kinds."""
    settled = np.isfinite(value) & np.isfinite(after)
    after = np.where(settled, after, 0.0)
    unspecified = np.broadcast_to(unspecified, value.shape) | domain.out_of_range(value, after)
    bound = domain.peak(value) if peak is None else peak
    if mode is not None:
        mode = np.where(settled & np.isfinite(mode), mode, 0.0)
    return _Tensor(value, after, unspecified, _origins(layer, reads, terms), terms, bound, mode, affine)


def _origins(layer: Layer, reads: list[_Tensor], terms: int) -> frozenset[tuple[str, int]]:
    """Origins (see _Tensor) of what a layer produces; it is itself one of them.

    A long sum mixes its inputs' errors beyond recognition; everything else passes them on element by element.
    """
    own = frozenset(((layer.to_tensor, 0),))
    match layer:
        case Conv() | FullyConnected() if terms >= MIXING:
            return own
        case Concat():
            offset = len(reads[0].value)
            shifted = frozenset((name, channel + offset) for name, channel in reads[1].origins)
            return reads[0].origins | shifted
        case _:
            return own.union(*(x.origins for x in reads))
