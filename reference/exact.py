"""Where a float32 evaluation has no freedom: the outputs for which every partial sum, in any order, is exact.

Such an output must match the reference in value (-0 equals +0) whatever the compiler did: reordered sums, fused
residuals, folded batch normalization, averages taken before 1x1 convolutions. Numbers are counted in steps, a power of
two that divides every term of a sum: if the terms' absolute values sum to at most 2^24 steps, every partial sum is a
float32. Algorithms that compute other intermediates (Winograd) need a smaller limit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import numpy as np
import numpy.typing as npt

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
    tensors_read,
)
from reference import fast, ops
from reference.domain import SAFE
from reference.exchange import Linear, before_averages, is_identity, is_pointwise
from reference.ops import Array, Mask
from reference.rounding import DEFAULT, Rounding
from reference.walk import check_arrays, check_names, schedule

EXACT_STEPS = 2.0**24
"""Integers up to here are float32 numbers."""

SMALLEST_STEP = -149
"""Exponent of the smallest subnormal float32."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor during evaluation.

    exact: elements without freedom.
    bound: bound on the partial sums behind each element, fused with linear nodes or not.
    step: exponent of a power of two that divides all those partial sums of exact elements.
    narrow: whether a batch norm that reads this may be folded into weights of fewer bits than a float's.
    apart: of the result of a batch norm: bound and step of what it adds up, which stands in the sums of the next layer
        where the batch norm is folded forward.
    linear: how to compute this on averages of what it was computed from, if an average may come of it.
    """

    value: Array
    exact: Mask
    bound: Array
    step: int
    narrow: bool = False
    apart: tuple[Array, int] | None = None
    linear: Linear[_Tensor] | None = None


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
    shapes = {node.to_tensor: tuple(graph.shapes[node.to_tensor]) for node in graph.inputs}
    live = {name: _leaf(array.astype(np.float64)) for name, array in check_arrays("input", shapes, inputs).items()}
    results = {name: live[name].exact for name in wanted if name in live}
    averaged = before_averages(graph)
    with np.errstate(all="ignore"):
        for layer, dead in schedule(graph):
            name = layer.to_tensor
            reads = [live[read] for read in tensors_read(layer)]
            evaluate = partial(_evaluate, layer, params=parameters, limit=limit, rounding=formats.get(name, DEFAULT))
            live[name] = evaluate(reads)
            if name in averaged:
                live[name] = _with_linear(layer, reads[0], live[name], evaluate)
            if name in wanted:
                results[name] = live[name].exact
            for tensor in dead:
                del live[tensor]
    return {name: results[name] for name in wanted}


def step_of(values: Array) -> int:
    """Exponent of the largest power of two that divides all finite values; 1000 if all are zero."""
    some = values[np.isfinite(values) & (values != 0)]
    if not some.size:
        return 1000
    mantissas, exponents = np.frexp(some)
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    lowest = np.ldexp((integers & -integers).astype(np.float64), exponents - 53)
    return int(np.frexp(lowest.min())[1]) - 1


def storable(weights: Array, rounding: Rounding) -> npt.NDArray[np.bool_]:
    """Which output channels (the first axis) have weights that are stored without an error."""
    rows = np.abs(weights.reshape(len(weights), -1))
    mantissas = np.ldexp(np.frexp(rows)[0], rounding.weight_bits)
    small = rows < np.maximum(rounding.weight_floor, rounding.weight_span * rows.max(axis=1, keepdims=True))
    return np.asarray(((mantissas == np.rint(mantissas)) & ((rows == 0) | ~small)).all(axis=1))


def _leaf(value: Array) -> _Tensor:
    return _tensor(value, np.isfinite(value))


def _tensor(value: Array, exact: Mask) -> _Tensor:
    """A tensor that nothing later is fused into: every element stands for itself."""
    return _Tensor(value, exact, np.abs(value), step_of(value[exact]))


def _sum(value: Array, exact: Mask, bound: Array, step: int, limit: float) -> _Tensor:
    """A sum whose terms are multiples of 2^step and sum to `bound` in absolute value."""
    fits = bound <= min(float(np.ldexp(limit, step)), SAFE)
    return _Tensor(value, exact & fits & (step >= SMALLEST_STEP), bound, step)


def _evaluate(
    layer: Layer, reads: Sequence[_Tensor], params: Mapping[str, Array], limit: float, rounding: Rounding
) -> _Tensor:
    x = reads[0]
    match layer:
        case Conv() | FullyConnected():
            weights, biases = params[layer.to_tensor + "Weights"], params[layer.to_tensor + "Biases"]
            result = _weighted_sum(layer, x, weights, biases, limit)
            if rounding.weight_bits >= DEFAULT.weight_bits:
                return result
            kept = storable(weights, rounding).reshape(-1, 1, 1)
            return replace(result, exact=result.exact & kept, narrow=True)
        case BatchNorm():
            names = ("Means", "Variances", "Scales", "Shifts")
            return _batch_norm(layer, x, *(params[layer.to_tensor + name] for name in names), limit=limit)
        case Activation():
            y = ops.activation(x.value, layer)
            exact = x.exact & ((x.value >= 0) | (y.astype(np.float32) == y))
            return _tensor(y, exact & (np.abs(y) <= np.ldexp(limit, step_of(y[exact]))))
        case Add():
            other = reads[1]
            exact, bound = x.exact & other.exact, x.bound + other.bound
            return _sum(ops.add(x.value, other.value), exact, bound, min(x.step, other.step), limit)
        case Concat():
            both = [(x.value, reads[1].value), (x.exact, reads[1].exact), (x.bound, reads[1].bound)]
            value, exact, bound = (np.concatenate(pair) for pair in both)
            return _Tensor(value, exact.astype(np.bool_), bound, min(x.step, reads[1].step))
        case Pooling():
            return _pooling(layer, x, limit)
        case Softmax():
            return _tensor(ops.softmax(x.value), np.zeros_like(x.exact))
        case _:
            assert_never(layer)


def _with_linear(layer: Layer, x: _Tensor, done: _Tensor, evaluate: Callable[[Sequence[_Tensor]], _Tensor]) -> _Tensor:
    """What a layer produced from `x`, with `linear` where it has one."""

    def of(other: _Tensor) -> _Tensor:
        return evaluate([other])

    if is_pointwise(layer):
        return replace(done, linear=Linear(x, of, np.positive))
    if isinstance(layer, BatchNorm) and x.linear is not None:
        return replace(done, linear=x.linear.then(of, np.positive))
    return replace(done, linear=x.linear) if is_identity(layer) else done


def _weighted_sum(layer: Conv | FullyConnected, x: _Tensor, weights: Array, biases: Array, limit: float) -> _Tensor:
    start = biases[:, np.newaxis, np.newaxis]
    sizes, step = np.abs(x.value), step_of(x.value[x.exact])
    if x.apart is not None and not (isinstance(layer, Conv) and (layer.padding_h or layer.padding_w)):
        sizes, step = np.maximum(sizes, x.apart[0]), min(step, x.apart[1])
    if isinstance(layer, Conv):
        value = fast.correlate(x.value, weights, layer) + start
        bound = fast.correlate(sizes, np.abs(weights), layer) + np.abs(start)
        exact = ~fast.touched(~x.exact, layer)
    else:
        value = fast.project(x.value, weights) + start
        bound = fast.project(sizes, weights, np.abs) + np.abs(start)
        exact = np.full(value.shape, x.exact.all())
    step = min(step + step_of(weights), step_of(biases))
    return _sum(value, exact, bound, step, limit)


def _batch_norm(
    layer: BatchNorm, x: _Tensor, means: Array, variances: Array, scales: Array, shifts: Array, *, limit: float
) -> _Tensor:
    """Exact where the root is a power of two, so that every way to compute the factor gives the same."""
    root = np.sqrt(variances + layer.epsilon)
    tidy = (np.frexp(root)[0] == 0.5) & (root * root == variances + layer.epsilon)
    tidy &= float(np.float32(layer.epsilon)) == layer.epsilon
    if x.narrow:
        tidy &= np.frexp(np.abs(scales))[0] == 0.5
    factor, mean, shift = (a[:, np.newaxis, np.newaxis] for a in (scales / root, means, shifts))
    value = ops.batch_norm(x.value, means, variances, scales, shifts, layer)
    bound = np.abs(factor) * (x.bound + np.abs(mean)) + np.abs(shift)
    steps = step_of(factor[tidy]) + min(x.step, step_of(means))
    exact = x.exact & tidy[:, np.newaxis, np.newaxis]
    sizes, step = x.apart or (np.abs(x.value), step_of(x.value[x.exact]))
    step = min(step_of(factor[tidy]) + min(step, step_of(means)), step_of(shifts))
    apart = np.abs(factor) * (sizes + np.abs(mean)) + np.abs(shift), step
    return replace(_sum(value, exact, bound, min(steps, step_of(shifts)), limit), narrow=x.narrow, apart=apart)


def _pooling(layer: Pooling, x: _Tensor, limit: float) -> _Tensor:
    """A maximum of exact elements is exact; an average if their number is a power of two and the sum is exact."""
    value = ops.pooling(x.value, layer)
    exact = ops.pooling(x.exact.astype(np.float64), layer) == 1
    if layer.is_max:
        every = ops.pooling(-x.exact.astype(np.float64), layer) == -1
        return _tensor(value, every)
    cells = np.float64(x.value[0].size) if layer.window is None else ops.real_cells(x.value, layer)
    total = ops.pooling(np.abs(x.value), layer) * cells
    halving = np.frexp(cells)[0] == 0.5
    done = _tensor(value, exact & halving & (total <= np.ldexp(limit, step_of(x.value[x.exact]))))
    if x.linear is None:
        return done
    source = _average(layer, x.linear.source, limit)
    other = x.linear.of(source)
    return replace(
        done,
        exact=done.exact & other.exact,
        bound=np.maximum(done.bound, other.bound),
        step=min(done.step, other.step),
        narrow=other.narrow,
        linear=Linear(source, x.linear.of, np.positive),
    )


def _average(layer: Pooling, x: _Tensor, limit: float) -> _Tensor:
    """The average of what a linear layer reads, for that layer to read.

    Where that is a batch norm which may be folded into the layer, the average may be one of what the batch norm reads:
    its terms must have room, too, and what it adds up is averaged with it.
    """
    done = _pooling(layer, x, limit)
    if x.apart is None:
        return done
    sizes, step = x.apart
    cells = np.float64(x.value[0].size) if layer.window is None else ops.real_cells(x.value, layer)
    means = ops.pooling(sizes, layer)
    fits = means * cells <= np.ldexp(limit, step)
    return replace(done, exact=done.exact & fits, apart=(means, step + 1 - int(np.frexp(cells)[1].max())))
