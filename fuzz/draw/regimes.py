"""Data regimes: which numbers a net is run on. A regime and a seed give parameters and inputs, always the same ones.

Each regime is good at one thing: `exact` and `impulse` are judged bit for bit (small integers, thinned so that every
partial sum in any order is exact), `gaussian` is what real nets see, `positive` and `cancelling` are the two ends of
what rounding can do, `wide` finds confusions of scale, and `nonfinite` finds lanes that leak into their neighbours.
`constant` and `repeated` have equal terms, whose roundings are not independent.
Whether a data set really was exact is decided afterwards from the data, by the reference; a regime only tries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from nn512.errors import UsageError
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Graph,
    Pooling,
    Shape,
    Softmax,
    layer_parameters,
    tensors_read,
)
from nn512.params import random_params

Floats: TypeAlias = NDArray[np.float32]
Arrays: TypeAlias = dict[str, Floats]

EXACT_BITS = 20
"""Sums of the exact regimes aim to stay below 2**EXACT_BITS; float32 is exact to 2**24, the rest is for transforms."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Parameters and inputs of one run, float32, by tensor name; inputs are CxHxW."""

    regime: str
    seed: int
    params: Mapping[str, Floats]
    inputs: Mapping[str, Floats]


Draw: TypeAlias = Callable[[Graph, np.random.Generator], tuple[Arrays, Arrays]]


def draw(graph: Graph, regime: str, seed: int) -> DataSet:
    """The data set of a regime and a seed. Raises UsageError for an unknown regime."""
    if regime not in REGIMES:
        raise UsageError(f"unknown data regime {regime!r}; there are {', '.join(REGIMES)}")
    rng = np.random.default_rng([list(REGIMES).index(regime), seed])
    # Wide data may leave the range of float32 on purpose of nobody: such values become infinities quietly.
    with np.errstate(over="ignore", under="ignore"):
        params, inputs = REGIMES[regime](graph, rng)
    return DataSet(
        regime,
        seed,
        {p.name: np.ascontiguousarray(params[p.name], np.float32).reshape(p.shape) for p in graph.parameters},
        {i.to_tensor: np.ascontiguousarray(inputs[i.to_tensor], np.float32) for i in graph.inputs},
    )


# ---------------------------------------------------------------------------------------------- exact integers


def _exact(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Integers in -3..3 and weights of which as many are non-zero as the bits of a float32 sum allow."""
    inputs = {i.to_tensor: _integers(rng, graph.shapes[i.to_tensor], 3) for i in graph.inputs}
    return _exact_params(graph, rng, dict.fromkeys(inputs, 3.0)), inputs


def _taps(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Dense integer inputs and a single non-zero weight per output channel: each output is one product."""
    inputs = {i.to_tensor: _integers(rng, graph.shapes[i.to_tensor], 99) for i in graph.inputs}
    params: Arrays = {}
    for layer in graph.layers:
        for parameter in layer_parameters(layer, graph.shapes):
            params[parameter.name] = np.zeros(parameter.shape, np.float32)
        match layer:
            case Conv() | FullyConnected():
                weights = params[layer.to_tensor + "Weights"].reshape(layer.to_channels, -1)
                rows = np.arange(len(weights))
                weights[rows, rng.integers(0, weights.shape[1], len(weights))] = rng.choice([-1.0, 1.0], len(weights))
            case BatchNorm():
                _exact_batch_norm(layer, params, rng, shift=0)
            case Activation() | Add() | Concat() | Pooling() | Softmax():
                pass
            case _:
                assert_never(layer)
    return params, inputs


def _impulse(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """One non-zero element per input, often in a corner, and dense distinct weights: the response shows every tap."""
    inputs = {}
    for node in graph.inputs:
        x = np.zeros(graph.shapes[node.to_tensor], np.float32)
        x[tuple(_corner(rng, extent) for extent in x.shape)] = rng.choice([-1.0, 1.0])
        inputs[node.to_tensor] = x
    params: Arrays = {}
    for layer in graph.layers:
        for parameter in layer_parameters(layer, graph.shapes):
            params[parameter.name] = np.zeros(parameter.shape, np.float32)
        match layer:
            case Conv() | FullyConnected():
                weights = params[layer.to_tensor + "Weights"]
                weights[...] = rng.integers(1, 64, weights.shape) * rng.choice([-1, 1], weights.shape)
            case BatchNorm():
                _exact_batch_norm(layer, params, rng, shift=0)
            case Activation() | Add() | Concat() | Pooling() | Softmax():
                pass
            case _:
                assert_never(layer)
    return params, inputs


def _exact_params(graph: Graph, rng: np.random.Generator, bound: dict[str, float]) -> Arrays:
    """Integer parameters that let the bound on sums grow by equal factors from layer to layer, up to 2**EXACT_BITS.

    `bound` has the largest magnitude of every input, and gets that of every tensor.
    """
    depth: dict[str, int] = dict.fromkeys(bound, 0)
    for layer in graph.layers:
        grows = isinstance(layer, Conv | FullyConnected | BatchNorm | Add)
        depth[layer.to_tensor] = max(depth[name] for name in tensors_read(layer)) + grows
    growth = 2.0 ** (EXACT_BITS / max(1, *depth.values()))
    params: Arrays = {}
    for layer in graph.layers:
        to, below = layer.to_tensor, max(bound[name] for name in tensors_read(layer))
        match layer:
            case Conv() | FullyConnected():
                shapes = layer_parameters(layer, graph.shapes)
                rows, columns = layer.to_channels, shapes[0].elements // layer.to_channels
                limit = max(growth ** depth[to], below)
                largest = int(np.clip(limit / (below * columns), 1, 3))
                taps = int(np.clip((limit - largest) // (below * largest), 1, columns))
                weights = rng.integers(1, largest + 1, (rows, columns)) * rng.choice([-1, 1], (rows, columns))
                if taps < columns:
                    dropped = rng.random((rows, columns)).argpartition(taps, axis=1)[:, taps:]
                    np.put_along_axis(weights, dropped, 0, axis=1)
                params[to + "Weights"] = weights.astype(np.float32).reshape(shapes[0].shape)
                params[to + "Biases"] = _integers(rng, (rows,), largest)
                bound[to] = taps * largest * below + largest
            case BatchNorm():
                shift = int(min(below, 3))
                for parameter in layer_parameters(layer, graph.shapes):
                    params[parameter.name] = np.zeros(parameter.shape, np.float32)
                _exact_batch_norm(layer, params, rng, shift)
                bound[to] = 2 * (below + shift) + shift
            case Add():
                bound[to] = bound[layer.from_tensor1] + bound[layer.from_tensor2]
            case Activation():
                bound[to] = below * max(1.0, abs(layer.param))
            case Concat() | Pooling():
                bound[to] = below
            case Softmax():
                bound[to] = 1.0
            case _:
                assert_never(layer)
    return params


def _exact_batch_norm(layer: BatchNorm, params: Arrays, rng: np.random.Generator, shift: int) -> None:
    """Scales of a power of two, and variances that with epsilon make a power of four where float32 has them."""
    to = layer.to_tensor
    shape = params[to + "Means"].shape
    target = 4.0 ** rng.integers(0, 2, shape)
    variances = target - layer.epsilon
    params[to + "Variances"] = np.where(variances >= 0, variances, 1.0).astype(np.float32)
    params[to + "Scales"] = (rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.integers(0, 2, shape)).astype(np.float32)
    params[to + "Means"] = _integers(rng, shape, shift)
    params[to + "Shifts"] = _integers(rng, shape, shift)


# ---------------------------------------------------------------------------------------------- real numbers


def _gaussian(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """He weights, statistics near those the data have, standard normal inputs: magnitudes near 1 at any depth."""
    inputs = {i.to_tensor: rng.standard_normal(graph.shapes[i.to_tensor], np.float32) for i in graph.inputs}
    return random_params(graph, int(rng.integers(1 << 31))), inputs


def _positive(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Positive inputs, and filters whose weights have one sign each: sums in which nothing cancels.

    In half of the layers all filters are positive: what they compute errs in common, and errors add up from layer to
    layer. In the others the sign differs from filter to filter.
    """
    params, inputs = _gaussian(graph, rng)
    for layer in graph.layers:
        if isinstance(layer, Conv | FullyConnected):  # sums of K such terms would grow from layer to layer
            weights = params[layer.to_tensor + "Weights"].reshape(layer.to_channels, -1)
            sign = rng.choice([-1.0, 1.0], (layer.to_channels, 1)) if rng.integers(2) else 1.0
            weights[...] = np.abs(weights) * sign / np.sqrt(weights.shape[1])
    return params, {name: np.abs(array) for name, array in inputs.items()}


def _cancelling(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Inputs far from zero and filters that sum to nearly nothing: results much smaller than their terms."""
    params, inputs = _gaussian(graph, rng)
    for layer in graph.layers:
        if isinstance(layer, Conv | FullyConnected):
            weights = params[layer.to_tensor + "Weights"].reshape(layer.to_channels, -1)
            if weights.shape[1] > 1:
                weights -= weights.mean(axis=1, keepdims=True)
    return params, {name: array + np.float32(100) for name, array in inputs.items()}


_WIDE = 6.0
"""Decades that one layer's weights, and the inputs, are scaled up or down by at most."""


def _wide(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Weights and inputs scaled by 1e-6 to 1e6, such that activations stay within about 1e-12 to 1e12."""
    params, inputs = _gaussian(graph, rng)
    decades: dict[str, float] = {}
    for name, array in inputs.items():
        decades[name] = rng.uniform(-_WIDE, _WIDE)
        inputs[name] = array * np.float32(10.0 ** decades[name])
    for layer in graph.layers:
        to, below = layer.to_tensor, [decades[name] for name in tensors_read(layer)]
        # The decade of the larger operand: where the smaller one drowns there is nothing to see.
        decades[to] = max(below)
        match layer:
            case Conv() | FullyConnected():
                shift = float(np.clip(rng.uniform(-_WIDE, _WIDE), -12 - decades[to], 12 - decades[to]))
                weights = params[to + "Weights"].reshape(layer.to_channels, -1)
                # A decade more or less from channel to channel, so that neighbouring lanes cannot be mistaken.
                spread = rng.uniform(-1.0, 1.0, (layer.to_channels, 1))
                weights *= (10.0 ** (shift + spread)).astype(np.float32)
                decades[to] += shift
                params[to + "Biases"] *= (10.0 ** (decades[to] + spread[:, 0])).astype(np.float32)
            case BatchNorm():
                scale = 10.0 ** decades[to]
                params[to + "Means"] *= np.float32(scale)
                params[to + "Shifts"] *= np.float32(scale)
            case Softmax():
                decades[to] = 0.0
            case Activation() | Add() | Concat() | Pooling():
                pass
            case _:
                assert_never(layer)
    return params, inputs


def _nonfinite(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Gaussian data with a few NaN and infinities, mostly in corners, in one of the inputs."""
    params, inputs = _gaussian(graph, rng)
    x = inputs[graph.inputs[rng.integers(len(graph.inputs))].to_tensor]
    for _ in range(rng.integers(1, 4)):
        x[tuple(_corner(rng, extent) for extent in x.shape)] = rng.choice([np.nan, np.inf, -np.inf])
    return params, inputs


# ---------------------------------------------------------------------------------------------- equal terms


def _constant(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Every parameter tensor and every input is one number, in half of the data sets give or take a millionth of it.

    Roundings of equal terms coincide: what a sum errs by grows with its length, not with the root of it.
    """
    noise = 1e-6 * rng.integers(2)

    def alike(shape: Shape | tuple[int, ...], number: float) -> Floats:
        return (number * (1.0 + noise * rng.standard_normal(shape))).astype(np.float32)

    params: Arrays = {}
    for layer in graph.layers:
        for parameter in layer_parameters(layer, graph.shapes):
            # Weights that keep magnitudes at any depth; scales, variances and the like are of order 1.
            terms = parameter.elements // parameter.shape[0] if parameter.name.endswith("Weights") else 1
            params[parameter.name] = alike(parameter.shape, rng.uniform(0.5, 2.0) / terms)
    return params, {i.to_tensor: alike(graph.shapes[i.to_tensor], rng.uniform(0.1, 2.0)) for i in graph.inputs}


def _repeated(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """A few different numbers everywhere; in two of three layers sorted, along channels or along taps."""
    params, inputs = _gaussian(graph, rng)
    for layer in graph.layers:
        if isinstance(layer, Conv | FullyConnected):
            weights = params[layer.to_tensor + "Weights"]
            rows = _few(rng, weights.reshape(layer.to_channels, -1))
            order = rng.integers(3)
            if order:
                rows = np.sort(rows, axis=1)[:, :: rng.choice([-1, 1])]
            if order == 2:  # along taps: the channels of a tap stay together
                taps = (len(rows), -1, weights.shape[1])
                rows = rows.reshape(taps).swapaxes(1, 2)
            params[layer.to_tensor + "Weights"] = rows.reshape(weights.shape)
    return params, {name: _few(rng, array) for name, array in inputs.items()}


def _few(rng: np.random.Generator, array: Floats) -> Floats:
    """One of one to five numbers in place of each, of the magnitude that they have; inputs of one sign now and then."""
    values = rng.standard_normal(int(rng.integers(1, 6))) * np.sqrt(np.square(array, dtype=np.float64).mean())
    if rng.integers(2):
        values = np.abs(values)
    return rng.choice(values, array.shape).astype(np.float32)


# ---------------------------------------------------------------------------------------------- helpers


def _integers(rng: np.random.Generator, shape: Shape | tuple[int, ...], largest: int) -> Floats:
    return rng.integers(-largest, largest + 1, shape).astype(np.float32)


def _corner(rng: np.random.Generator, extent: int) -> int:
    """An index: the first or the last two times out of three, anything else otherwise."""
    return (0, extent - 1, int(rng.integers(extent)))[rng.integers(3)]


REGIMES: Mapping[str, Draw] = {
    "exact": _exact,
    "taps": _taps,
    "impulse": _impulse,
    "gaussian": _gaussian,
    "positive": _positive,
    "cancelling": _cancelling,
    "wide": _wide,
    "nonfinite": _nonfinite,
    "constant": _constant,
    "repeated": _repeated,
}
"""All regimes by name. The order seeds the generators: append only."""

EXACT_REGIMES = frozenset({"exact", "taps", "impulse"})
"""Regimes whose results may be exact; the reference is asked which elements are."""

GIVEN = "given"
"""Stands where the name of a regime would, for arrays that a user gave."""
