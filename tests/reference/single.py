"""A net in float32, evaluated in every way implementations may differ, and how far that is from the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import erf

import reference
from nn512.graph import (
    LRN,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    Div,
    FullyConnected,
    Graph,
    Input,
    Layer,
    LayerNorm,
    Max,
    Min,
    Mul,
    Node,
    Output,
    Pooling,
    RMSNorm,
    Shape,
    Softmax,
    Sub,
    build,
    tensors_read,
)
from reference import kinds
from reference.windows import Array

Single: TypeAlias = npt.NDArray[np.float32]
F = np.float32


@dataclass(frozen=True)
class Style:
    """How an implementation evaluates: the freedom the reference grants.

    order: of the products; "lanes" keeps 16 partial sums and adds them up in the end.
    fused: multiply-adds round once. bias_first: the accumulation starts at the bias.
    fold: batch normalization goes into the weights of the convolution before it.
    """

    order: str = "forward"
    fused: bool = True
    bias_first: bool = True
    fold: bool = False


STYLES = [
    Style(order, fused, bias_first, fold)
    for order in ("forward", "reverse", "shuffled", "lanes")
    for fused, bias_first, fold in ((True, True, False), (False, False, True))
]


def accumulate(columns: Single, weights: Single, start: Single, style: Style) -> Single:
    """Start + weights (K x N) times columns (N x P) in float32, one product after the other: K x P."""
    terms = np.arange(len(columns))
    if style.order == "reverse":
        terms = terms[::-1]
    elif style.order == "shuffled":
        terms = np.random.default_rng(len(columns)).permutation(terms)
    lanes = 16 if style.order == "lanes" else 1
    sums = np.zeros((lanes, len(weights), columns.shape[1]), F)
    if style.bias_first:
        sums[0] += start[:, np.newaxis]
    for position, n in enumerate(terms):
        lane = sums[position % lanes]
        product = weights[:, n, np.newaxis].astype(np.float64) * columns[n]
        lane[:] = (lane + product).astype(F) if style.fused else lane + product.astype(F)
    total: Single = sums[0]
    for lane in sums[1:]:
        total = total + lane
    return total if style.bias_first else total + start[:, np.newaxis]


def conv(x: Single, weights: Single, biases: Single, node: Conv, style: Style) -> Single:
    taps = kinds.conv.window_of(node).taps(x)
    groups = taps.reshape(node.groups, -1, *taps.shape[1:]).transpose(0, 1, 4, 5, 2, 3)
    filters, starts = np.split(weights, node.groups), np.split(biases, node.groups)
    parts = [
        accumulate(columns.reshape(-1, taps.shape[1] * taps.shape[2]), w.reshape(len(w), -1), b, style)
        for columns, w, b in zip(groups, filters, starts, strict=True)
    ]
    return np.concatenate(parts).reshape(-1, *taps.shape[1:3])


def single(graph: Graph, params: Mapping[str, Single], inputs: Mapping[str, Single], style: Style) -> dict[str, Single]:
    """Every tensor of the graph, evaluated in float32."""
    tensors = dict(inputs)
    source = {layer.to_tensor: layer for layer in graph.layers}
    for layer in graph.layers:
        reads = [tensors[name] for name in tensors_read(layer)]
        before = source.get(tensors_read(layer)[0])
        if style.fold and isinstance(layer, BatchNorm) and isinstance(before, Conv):
            factor, shift = folded(layer, params)
            weights = (params[before.to_tensor + "Weights"] * factor[:, np.newaxis, np.newaxis, np.newaxis]).astype(F)
            biases = (params[before.to_tensor + "Biases"] * factor + shift).astype(F)
            tensors[layer.to_tensor] = conv(tensors[before.from_tensor], weights, biases, before, style)
        else:
            tensors[layer.to_tensor] = step(layer, reads, params, style)
    return tensors


def folded(layer: BatchNorm, params: Mapping[str, Single]) -> tuple[Array, Array]:
    names = ("Means", "Variances", "Scales", "Shifts")
    means, variances, scales, shifts = (params[layer.to_tensor + name].astype(np.float64) for name in names)
    factor = scales / np.sqrt(variances + layer.epsilon)
    return factor, shifts - means * factor


def step(layer: Layer, reads: list[Single], params: Mapping[str, Single], style: Style) -> Single:
    x = reads[0]
    match layer:
        case Conv():
            return conv(x, params[layer.to_tensor + "Weights"], params[layer.to_tensor + "Biases"], layer, style)
        case FullyConnected():
            weights = params[layer.to_tensor + "Weights"]
            sums = accumulate(
                x.reshape(-1, 1), weights.reshape(len(weights), -1), params[layer.to_tensor + "Biases"], style
            )
            return sums[:, :, np.newaxis]
        case BatchNorm():
            factor, shift = (a.astype(F)[:, np.newaxis, np.newaxis] for a in folded(layer, params))
            return x * factor + shift
        case Activation():
            if layer.kind == "PReLU":
                return np.where(x > 0, x, params[layer.to_tensor + "Slopes"][:, np.newaxis, np.newaxis] * x)
            return function(x, layer)
        case Add() | Sub() | Mul() | Div() | Max() | Min():
            return np.asarray(BINARIES[type(layer)](x, reads[1]), F)
        case Concat():
            return np.concatenate(reads)
        case Pooling(is_max=True):
            return kinds.pooling.value(x.astype(np.float64), layer).astype(F)
        case Pooling(is_global=True):
            total = np.zeros((len(x), 1, 1), F)
            for row, column in np.ndindex(x.shape[1:]):
                total += x[:, row : row + 1, column : column + 1]
            return total * F(1 / x[0].size)
        case Pooling():
            wide = x.astype(np.float64)
            count = kinds.pooling.pool_of(layer, wide).cells(wide)
            return (kinds.pooling.value(wide, layer) * count).astype(F) * (1 / count).astype(F)
        case Softmax():
            powers: Single = np.exp(x - x.max(axis=0))
            total = np.zeros_like(powers[0])
            for power in powers:
                total += power
            powers *= F(1) / total
            return powers
        case LRN():
            sums = kinds.lrn.window_sums(np.square(x), layer.size).astype(F)
            responses: Single = x / (F(layer.bias) + F(layer.alpha / layer.size) * sums) ** F(layer.beta)
            return responses
        case LayerNorm() | RMSNorm():
            return channel_norm(x, layer, params, style)
        case _:
            raise AssertionError(layer)


BINARIES: dict[type, np.ufunc] = {
    Add: np.add,
    Sub: np.subtract,
    Mul: np.multiply,
    Div: np.divide,
    Max: np.maximum,
    Min: np.minimum,
}


def channel_norm(x: Single, layer: LayerNorm | RMSNorm, params: Mapping[str, Single], style: Style) -> Single:
    """Sums in the order of the style, as all others."""
    count, nothing = F(len(x)), np.zeros(1, F)

    def mean(terms: Single) -> Single:
        return (
            accumulate(terms.reshape(len(x), -1), np.ones((1, len(x)), F), nothing, style).reshape(x.shape[1:]) / count
        )

    distance = x - mean(x) if isinstance(layer, LayerNorm) else x
    factor = F(1) / np.sqrt(mean(distance * distance) + F(layer.epsilon))
    scales = params[layer.to_tensor + "Scales"][:, np.newaxis, np.newaxis]
    result: Single = distance * factor * scales
    if isinstance(layer, LayerNorm):
        result = result + params[layer.to_tensor + "Shifts"][:, np.newaxis, np.newaxis]
    return result


def softplus(x: Single) -> Single:
    """By the formula: what is added to 1 is rounded."""
    total: Single = F(1) + np.exp(np.minimum(x, F(20)))
    return np.where(x > 20, x, np.log(total))


def function(x: Single, layer: Activation) -> Single:
    match layer.kind:
        case "ReLU":
            return np.maximum(x, F(0)) if layer.param == 0 else np.where(x > 0, x, F(layer.param) * x)
        case "Clip":
            return np.minimum(np.maximum(x, F(layer.min)), F(layer.max))
        case "HardSwish":
            y: Single = x * np.minimum(np.maximum(x + F(3), F(0)), F(6)) / F(6)
            return y
        case "GELU":
            share: Single = F(1) + erf(x * F(0.5**0.5)).astype(F)
            return F(0.5) * x * share
        case "GELUTanh":
            inner: Single = F(math.sqrt(2 / math.pi)) * (x + F(0.044715) * x * x * x)
            bent: Single = F(1) + np.tanh(inner)
            return F(0.5) * x * bent
        case "ELU":
            return np.where(x > 0, x, F(layer.param) * (np.exp(np.minimum(x, F(0))) - F(1)))
        case "Softplus":
            return softplus(x)
        case "Mish":
            return x * np.tanh(softplus(x))
        case "Abs" | "Neg":
            return np.abs(x) if layer.kind == "Abs" else -x
        case "Sigmoid":
            gate: Single = F(1) / (F(1) + np.exp(-x)).astype(F)
            return gate
        case "HardSigmoid":
            line: Single = F(layer.alpha) * x + F(layer.beta)
            return np.minimum(np.maximum(line, F(0)), F(1))
        case "SiLU":
            power: Single = np.exp(-x)
            return x / (F(1) + power)
        case "Tanh":
            return np.tanh(x)
        case _:
            raise AssertionError(layer)


def random_params(graph: Graph, rng: np.random.Generator) -> dict[str, Single]:
    params = {}
    for parameter in graph.parameters:
        if parameter.name.endswith("Weights"):
            values = rng.normal(0, math.sqrt(2 / math.prod(parameter.shape[1:])), parameter.shape)
        elif parameter.name.endswith(("Variances", "Scales")):
            values = rng.uniform(0.5, 1.5, parameter.shape)
        else:
            values = rng.normal(0, 0.3, parameter.shape)
        params[parameter.name] = values.astype(F)
    return params


DATA: dict[str, Callable[[np.random.Generator, Shape], Array]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: np.abs(rng.standard_normal(shape)),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.05),
    "constant": lambda rng, shape: np.full(shape, rng.standard_normal()),
    "offset": lambda rng, shape: rng.standard_normal(shape) + 100,
    "tiny": lambda rng, shape: rng.standard_normal(shape) * 3e-39,
}


def random_inputs(graph: Graph, rng: np.random.Generator, kind: str) -> dict[str, Single]:
    return {node.to_tensor: DATA[kind](rng, graph.shapes[node.to_tensor]).astype(F) for node in graph.inputs}


def deviations(graph: Graph, params: dict[str, Single], inputs: dict[str, Single], style: Style) -> dict[str, Array]:
    """|error| / sigma of every element of every computed tensor."""
    names = [layer.to_tensor for layer in graph.layers]
    results = reference.run(graph, params, inputs, keep=names)
    with np.errstate(all="ignore"):
        tensors = single(graph, params, inputs, style)
        ratios = {}
        for name, result in results.items():
            assert not result.unspecified.any()
            error = np.abs(tensors[name] - result.value)
            ratios[name] = np.where(error == 0, 0.0, error / np.sqrt(result.variance))
    return ratios


def rms(ratios: Array) -> float:
    return float(np.sqrt(np.square(ratios).mean()))


def net(*layers: Node, channels: int = 8, size: int = 9) -> Graph:
    """A graph from input x to the tensor of the last layer."""
    last = layers[-1]
    assert not isinstance(last, Config | Output)
    return build([Config(), Input("x", channels, size, size), *layers, Output(last.to_tensor)])


def conv3(source: str, to: str, channels: int) -> Conv:
    return Conv(source, to, channels, 3, 3, padding_h=1, padding_w=1)


def relu(source: str, to: str, slope: float = 0.0) -> Activation:
    return Activation(source, to, "ReLU", slope)


def residual(blocks: int) -> list[Node]:
    layers: list[Node] = [conv3("x", "r0", 8)]
    for i in range(blocks):
        layers += [conv3(f"r{i}", f"c{i}", 8), BatchNorm(f"c{i}", f"b{i}"), relu(f"b{i}", f"a{i}")]
        layers += [conv3(f"a{i}", f"d{i}", 8), Add(f"d{i}", f"r{i}", f"s{i}"), relu(f"s{i}", f"r{i + 1}")]
    return layers


def dense(blocks: int) -> list[Node]:
    layers: list[Node] = []
    source = "x"
    for i in range(blocks):
        layers += [BatchNorm(source, f"b{i}"), relu(f"b{i}", f"a{i}"), conv3(f"a{i}", f"c{i}", 4)]
        layers += [Concat(source, f"c{i}", f"k{i}")]
        source = f"k{i}"
    return layers


def doubling(kind: type[Add | Concat], times: int) -> list[Node]:
    """One rounding that reaches everything: x scaled by one channel's filter, then added or joined to itself."""
    layers: list[Node] = [Conv("x", "t0", 2, 1, 1), relu("t0", "v0", -0.3)]
    for i in range(times):
        layers += [relu(f"v{i}", f"u{i}", 0.7), kind(f"v{i}", f"u{i}", f"v{i + 1}")]
    return [*layers, Conv(f"v{times}", "y", 3, 1, 1)]
