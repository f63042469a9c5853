"""Data regimes: which numbers a net is run on. A regime and a seed give parameters and inputs, always the same ones.

Each regime is good at one thing: `exact` and `impulse` are judged bit for bit (small integers, thinned so that every
partial sum in any order is exact), `gaussian` is what real nets see, `positive` and `cancelling` are the two ends of
what rounding can do, `wide` finds confusions of scale, and `nonfinite` finds lanes that leak into their neighbours.
`constant` and `repeated` have equal terms, whose roundings are not independent. `tiles` is exact where Winograd's
algorithms can be. `subnormal` and `huge` are exact at both ends of what a float32 holds. `nan` and `infinite` are many
of one of them, so that each lane sees some and one that is lost is not replaced by another.
Whether a data set really was exact is decided afterwards from the data, by the reference; a regime only tries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fuzz.draw.aimed import EDGES, aimed_input
from fuzz.draw.kinds import kind_of
from fuzz.draw.kinds.base import WIDE, Arrays, Floats, as_rows, integers
from nn512.errors import UsageError
from nn512.graph import Graph, Shape, layer_parameters, tensors_read
from nn512.params import array_of, random_params

EXACT_BITS = 20
"""Sums of the exact regimes aim to stay below 2**EXACT_BITS; float32 is exact to 2**24, the rest is for transforms."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Parameters and inputs of one run, float32, by tensor name; inputs are as the caller has them."""

    regime: str
    seed: int
    params: Mapping[str, Floats]
    inputs: Mapping[str, Floats]


Draw: TypeAlias = Callable[[Graph, np.random.Generator], tuple[Arrays, Arrays]]


def draw(graph: Graph, regime: str, seed: int) -> DataSet:
    """The data set of a regime and a seed, or one aimed at edges. Raises UsageError for an unknown regime."""
    if regime != EDGES:
        check_regime(regime)
    rng = np.random.default_rng([0xED6E if regime == EDGES else list(REGIMES).index(regime), seed])
    # Wide data may leave the range of float32 on purpose of nobody: such values become infinities quietly.
    with np.errstate(over="ignore", under="ignore"):
        if regime == EDGES:
            inputs = {i.to_tensor: aimed_input(graph.shapes[i.to_tensor], seed, rng) for i in graph.inputs}
            params = _distinct(graph, rng)
        else:
            params, inputs = REGIMES[regime](graph, rng)
    return DataSet(
        regime,
        seed,
        {p.name: np.ascontiguousarray(params[p.name], np.float32).reshape(p.shape) for p in graph.parameters},
        {i.to_tensor: np.ascontiguousarray(array_of(i, inputs[i.to_tensor]), np.float32) for i in graph.inputs},
    )


# ---------------------------------------------------------------------------------------------- exact integers


def _exact(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Integers in -3..3 and weights of which as many are non-zero as the bits of a float32 sum allow."""
    inputs = {i.to_tensor: integers(rng, graph.shapes[i.to_tensor], 3) for i in graph.inputs}
    return _exact_params(graph, rng, dict.fromkeys(inputs, 3.0)), inputs


def _taps(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Dense integer inputs and a single non-zero weight per output channel: each output is one product."""
    inputs = {i.to_tensor: integers(rng, graph.shapes[i.to_tensor], 99) for i in graph.inputs}
    params = _zeros(graph)
    for layer in graph.layers:
        kind = kind_of(layer)
        weights = kind.weights(layer, params)
        if weights is not None:
            rows = as_rows(weights)
            signs = rng.choice([-1.0, 1.0], len(rows))
            rows[np.arange(len(rows)), rng.integers(0, rows.shape[1], len(rows))] = signs
        kind.make_exact(layer, params, rng, shift=0)
    return params, inputs


def _tiles(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """A single weight per output on -1, 0 and 1, in one layer a multiple of what Winograd's algorithms divide by.

    Transformed tiles then are exact as far as float32 has the bits. The first taps take fewer and are drawn more often.
    Where every convolution of random nets with more than one tap is computed so that can be, 73 % of those by F(2x2)
    have elements that are claimed to be exact, 38 % by F(2x4), 21 % by F(3x3), 20 % by F(4x4) and 8 % by F(5x5); of
    direct ones 75 %.
    """
    inputs = {i.to_tensor: integers(rng, graph.shapes[i.to_tensor], 1) for i in graph.inputs}
    params = _zeros(graph)
    sums = [layer for layer in graph.layers if kind_of(layer).weights(layer, params) is not None]
    divided = sums[rng.integers(len(sums))] if sums else None
    for layer in graph.layers:
        kind = kind_of(layer)
        weights = kind.weights(layer, params)
        if weights is not None:
            count, channels, *size = weights.shape
            down, across = (rng.integers(0, taps, (2, count)).min(axis=0) for taps in size)
            multiple = math.prod(_divisor(rng, taps) for taps in size) if layer is divided else 1
            channel, signs = rng.integers(0, channels, count), rng.choice([-1, 1], count)
            weights[np.arange(count), channel, down, across] = multiple * signs
        kind.make_exact(layer, params, rng, shift=0)
    return params, inputs


def _divisor(rng: np.random.Generator, taps: int) -> int:
    """What tiles divide weights by along an axis, powers of two aside: with 5 or 6 points 9, with 7 or 8 points 45."""
    return 1 if taps == 1 else int(rng.choice([9, 45]) if taps < 7 else 45)


def _impulse(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """One non-zero element per input, often in a corner, and dense distinct weights: the response shows every tap."""
    inputs = {}
    for node in graph.inputs:
        x = np.zeros(graph.shapes[node.to_tensor], np.float32)
        x[tuple(_corner(rng, extent) for extent in x.shape)] = rng.choice([-1.0, 1.0])
        inputs[node.to_tensor] = x
    return _distinct(graph, rng), inputs


def _distinct(graph: Graph, rng: np.random.Generator) -> Arrays:
    """Weights that are integers, none of them 0: mostly another one at every tap."""
    params = _zeros(graph)
    for layer in graph.layers:
        kind = kind_of(layer)
        weights = kind.weights(layer, params)
        if weights is not None:
            weights[...] = rng.integers(1, 64, weights.shape) * rng.choice([-1, 1], weights.shape)
        kind.make_exact(layer, params, rng, shift=0)
    return params


def _exact_params(graph: Graph, rng: np.random.Generator, bound: dict[str, float]) -> Arrays:
    """Integer parameters that let the bound on sums grow by equal factors from layer to layer, up to 2**EXACT_BITS.

    `bound` has the largest magnitude of every input, and gets that of every tensor.
    """
    depth: dict[str, int] = dict.fromkeys(bound, 0)
    for layer in graph.layers:
        depth[layer.to_tensor] = max(depth[name] for name in tensors_read(layer)) + kind_of(layer).grows
    growth = 2.0 ** (EXACT_BITS / max(1, *depth.values()))
    params: Arrays = {}
    for layer in graph.layers:
        read, limit = [bound[name] for name in tensors_read(layer)], growth ** depth[layer.to_tensor]
        bound[layer.to_tensor] = kind_of(layer).exact(layer, graph.shapes, params, rng, read, limit)
    return params


def _zeros(graph: Graph) -> Arrays:
    return {parameter.name: np.zeros(parameter.shape, np.float32) for parameter in graph.parameters}


def _scaled(exponent: int) -> Draw:
    """Exact data times a power of two: inputs, and what is added on the way; each pixel has one channel above all."""

    def scaled(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        params, inputs = _exact(graph, rng)
        for x in inputs.values():
            np.clip(x, -2, 2, out=x)
            _peaks(rng, x)
        factors = dict.fromkeys(inputs, 2.0**exponent)
        for layer in graph.layers:
            # Operands of different scales: the larger one counts, beside which the other drowns.
            factor = max(factors[name] for name in tensors_read(layer))
            factors[layer.to_tensor] = kind_of(layer).rescale(layer, params, factor)
        return params, {name: array * np.float32(2.0**exponent) for name, array in inputs.items()}

    return scaled


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
        weights = kind_of(layer).weights(layer, params)
        if weights is not None:  # sums of K such terms would grow from layer to layer
            rows = as_rows(weights)
            sign = rng.choice([-1.0, 1.0], (len(rows), 1)) if rng.integers(2) else 1.0
            rows[...] = np.abs(rows) * sign / np.sqrt(rows.shape[1])
    return params, {name: np.abs(array) for name, array in inputs.items()}


def _cancelling(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Inputs far from zero and filters that sum to nearly nothing: results much smaller than their terms.

    In half of the data sets inputs are far below zero, where exponentials are nothing in float32.
    """
    params, inputs = _gaussian(graph, rng)
    for layer in graph.layers:
        weights = kind_of(layer).weights(layer, params)
        if weights is not None and weights[0].size > 1:
            rows = as_rows(weights)
            rows -= rows.mean(axis=1, keepdims=True)
    far = np.float32(rng.choice((-100, 100)))
    return params, {name: array + far for name, array in inputs.items()}


def _wide(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Weights and inputs scaled by 1e-6 to 1e6, such that activations stay within about 1e-12 to 1e12."""
    params, inputs = _gaussian(graph, rng)
    decades: dict[str, float] = {}
    for name, array in inputs.items():
        decades[name] = rng.uniform(-WIDE, WIDE)
        inputs[name] = array * np.float32(10.0 ** decades[name])
    for layer in graph.layers:
        # The decade of the larger operand: where the smaller one drowns there is nothing to see.
        decade = max(decades[name] for name in tensors_read(layer))
        decades[layer.to_tensor] = kind_of(layer).scale_wide(layer, params, rng, decade)
    return params, inputs


def _nonfinite(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Gaussian data with a few NaN and infinities, mostly in corners, in one of the inputs."""
    params, inputs = _gaussian(graph, rng)
    x = inputs[graph.inputs[rng.integers(len(graph.inputs))].to_tensor]
    for _ in range(rng.integers(1, 4)):
        x[tuple(_corner(rng, extent) for extent in x.shape)] = rng.choice([np.nan, np.inf, -np.inf])
    return params, inputs


def _one_kind(*values: float) -> Draw:
    """Gaussian data with one of these values in up to a quarter of all places of one of the inputs."""

    def spoilt(graph: Graph, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        params, inputs = _gaussian(graph, rng)
        x = inputs[graph.inputs[rng.integers(len(graph.inputs))].to_tensor].ravel()
        count = int(rng.integers(1, max(1, x.size // 4) + 1))
        x[rng.choice(x.size, count, replace=False)] = rng.choice(values)
        return params, inputs

    return spoilt


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
        weights = kind_of(layer).weights(layer, params)
        if weights is not None:
            rows = _few(rng, as_rows(weights))
            order = rng.integers(3)
            if order:
                rows = np.sort(rows, axis=1)[:, :: rng.choice([-1, 1])]
            if order == 2:  # along taps: the channels of a tap stay together
                taps = (len(rows), -1, weights.shape[1])
                rows = rows.reshape(taps).swapaxes(1, 2)
            weights[...] = rows.reshape(weights.shape)
    return params, {name: _few(rng, array) for name, array in inputs.items()}


def _few(rng: np.random.Generator, array: Floats) -> Floats:
    """One of one to five numbers in place of each, of the magnitude that they have; inputs of one sign now and then."""
    values = rng.standard_normal(int(rng.integers(1, 6))) * np.sqrt(np.square(array, dtype=np.float64).mean())
    if rng.integers(2):
        values = np.abs(values)
    return rng.choice(values, array.shape).astype(np.float32)


# ---------------------------------------------------------------------------------------------- helpers


def _peaks(rng: np.random.Generator, x: Floats) -> None:
    """Set one channel of each pixel to 3, each channel as often as any other."""
    pixels = x[0].size
    rows = x.reshape(len(x), pixels)
    rows[rng.permutation(np.arange(pixels) + rng.integers(len(x))) % len(x), np.arange(pixels)] = 3


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
    "tiles": _tiles,
    "subnormal": _scaled(-140),
    "huge": _scaled(104),
    "nan": _one_kind(math.nan),
    "infinite": _one_kind(math.inf, -math.inf),
}
"""All regimes by name. The order seeds the generators: append only."""

ALIKE_REGIMES = ("constant", "repeated")
"""Data sets of which many elements may err by one and the same error."""

TURNS = (("wide", "subnormal", "huge"), ("nonfinite", "nan", "infinite"))
"""Regimes that take turns in campaigns: of each group a case has one."""

EXACT_REGIMES = frozenset({"exact", "taps", "impulse", "tiles", "subnormal", "huge", EDGES})
"""Regimes whose results may be exact; the reference is asked which elements are."""

GIVEN = "given"
"""Stands where the name of a regime would, for arrays that a user gave."""


def check_regime(name: str, where: str = "") -> None:
    """Raise UsageError, which says `where`, for what is no data regime."""
    if name not in REGIMES:
        raise UsageError(f"{where}unknown data regime {name!r}; there are {', '.join(REGIMES)}")
