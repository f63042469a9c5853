"""Activation in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import erf, pi, sqrt
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from nn512.graph import Activation, Parameter
from nn512.onnx.affine import per_channel
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.pointwise import SAMPLES, Floats, Sampled, equal, same
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, LARGEST, Rule, need, real, shortest, text
from nn512.onnx.work import Tensor, Work
from nn512.params import show_shape

Fields: TypeAlias = dict[str, Any]
"""Of an Activation, by attribute."""


def _relu(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    slope = float(np.float32(layer.param))
    if slope == 0:
        yield maker.last("Relu", [layer.from_tensor])
    else:  # alpha * x below zero, for an alpha of any size and sign
        yield maker.last("LeakyRelu", [layer.from_tensor], alpha=slope)


def _prelu(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.last("PRelu", [layer.from_tensor, maker.parameter("Slopes")])


def _clip(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.inner("Constant", "min", [], "min", value_float=layer.min)
    yield maker.inner("Constant", "max", [], "max", value_float=layer.max)
    yield maker.last("Clip", [layer.from_tensor, maker.own("min"), maker.own("max")])


def _hard_sigmoid(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.last("HardSigmoid", [layer.from_tensor], alpha=layer.alpha, beta=layer.beta)


def _silu(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.inner("Sigmoid", "sigmoid", [layer.from_tensor], "sigmoid")
    yield maker.last("Mul", [layer.from_tensor, maker.own("sigmoid")])


def _elu(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.last("Elu", [layer.from_tensor], alpha=layer.param)


def _square(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.last("Mul", [layer.from_tensor, layer.from_tensor])


def _mish(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.inner("Softplus", "softplus", [layer.from_tensor], "softplus")
    yield maker.inner("Tanh", "tanh", [maker.own("softplus")], "tanh")
    yield maker.last("Mul", [layer.from_tensor, maker.own("tanh")])


def _halves(maker: NodeMaker, layer: Activation, part: str) -> Iterator[Any]:
    """Half of x, times 1 and `part`."""
    yield maker.inner("Constant", "half", [], "half", value_float=0.5)
    yield maker.inner("Constant", "one", [], "one", value_float=1.0)
    yield maker.inner("Mul", "halved", [layer.from_tensor, maker.own("half")], "halved")
    yield maker.inner("Add", "share", [maker.own(part), maker.own("one")], "share")
    yield maker.last("Mul", [maker.own("halved"), maker.own("share")])


def _gelu(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.inner("Constant", "root", [], "root", value_float=sqrt(0.5))
    yield maker.inner("Mul", "scaled", [layer.from_tensor, maker.own("root")], "scaled")
    yield maker.inner("Erf", "erf", [maker.own("scaled")], "erf")
    yield from _halves(maker, layer, "erf")


def _gelu_tanh(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    """The cubic as x * (a + b * x^2), with the root in both."""
    yield maker.inner("Constant", "linear", [], "linear", value_float=sqrt(2 / pi))
    yield maker.inner("Constant", "cubic", [], "cubic", value_float=0.044715 * sqrt(2 / pi))
    yield maker.inner("Mul", "square", [layer.from_tensor, layer.from_tensor], "square")
    yield maker.inner("Mul", "bent", [maker.own("square"), maker.own("cubic")], "bent")
    yield maker.inner("Add", "factor", [maker.own("bent"), maker.own("linear")], "factor")
    yield maker.inner("Mul", "inner", [layer.from_tensor, maker.own("factor")], "inner")
    yield maker.inner("Tanh", "tanh", [maker.own("inner")], "tanh")
    yield from _halves(maker, layer, "tanh")


def _operator(name: str) -> Callable[[NodeMaker, Activation], Iterator[Any]]:
    """A function that is an operator without attributes."""

    def nodes(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
        yield maker.last(name, [layer.from_tensor])

    return nodes


FUNCTIONS: Mapping[str, Callable[[NodeMaker, Activation], Iterator[Any]]] = MappingProxyType(
    {
        "ReLU": _relu,
        "PReLU": _prelu,
        "Clip": _clip,
        "Sigmoid": _operator("Sigmoid"),
        "HardSigmoid": _hard_sigmoid,
        "SiLU": _silu,
        "HardSwish": _operator("HardSwish"),
        "Tanh": _operator("Tanh"),
        "GELU": _gelu,
        "GELUTanh": _gelu_tanh,
        "ELU": _elu,
        "Softplus": _operator("Softplus"),
        "Mish": _mish,
        "Exp": _operator("Exp"),
        "Log": _operator("Log"),
        "Sqrt": _operator("Sqrt"),
        "Square": _square,
        "Abs": _operator("Abs"),
        "Neg": _operator("Neg"),
        "Reciprocal": _operator("Reciprocal"),
    }
)
"""By Kind."""


def _nodes(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    return FUNCTIONS[layer.kind](maker, layer)


def _declared(parameter: Parameter) -> tuple[int, ...]:
    """Slopes as they are broadcast along the axes behind the channels."""
    return (*parameter.shape, 1, 1)


ACTIVATION = Export(_nodes, _declared)


# --- and back ---------------------------------------------------------------------------------------------------------


def _bounded_by(least: float, most: float) -> Fields | None:
    """The fields of a Clip; None where the language has none between these bounds."""
    low, high = max(shortest(least), -LARGEST), min(shortest(most), LARGEST)
    return {"min": low, "max": high} if low < high else None


def _fit_relu(values: Floats) -> Fields | None:
    """Choosing between numbers rounds nothing, so a ReLU is one to the last digit."""
    slope = float(-values[_AT_MINUS_ONE]) + 0.0  # and no -0
    if abs(slope) > LARGEST or not equal(values, np.where(SAMPLES > 0, SAMPLES, slope * SAMPLES)):
        return None
    return {"param": shortest(slope)}


def _fit_nothing(_: Floats) -> Fields | None:
    """One function of all channels is no PReLU."""
    return None


def _fit_clip(values: Floats) -> Fields | None:
    """The same goes for a Clip."""
    least, most = float(values[0]), float(values[-1])
    if not least < most or not equal(values, np.clip(SAMPLES, least, most)):
        return None
    return _bounded_by(least if least > SAMPLES[0] else -LARGEST, most if most < SAMPLES[-1] else LARGEST)


def _fit_hard_sigmoid(values: Floats) -> Fields | None:
    (rising,) = np.nonzero((values > 0) & (values < 1))
    if len(rising) < 2:
        return None
    first, last = rising[0], rising[-1]
    alpha = float((values[last] - values[first]) / (SAMPLES[last] - SAMPLES[first]))
    beta = float(values[first] - alpha * SAMPLES[first])
    if not alpha > 0 or not same(values, np.clip(alpha * SAMPLES + beta, 0, 1)):
        return None
    return {"alpha": shortest(alpha), "beta": shortest(beta)}


def _fit_elu(values: Floats) -> Fields | None:
    """To the last digit where x > 0; with a factor of 0 it would be a ReLU."""
    factor = float(values[_AT_MINUS_ONE] / np.expm1(-1.0))
    if not 0 < abs(factor) <= LARGEST or not equal(values[SAMPLES > 0], SAMPLES[SAMPLES > 0]):
        return None
    if not same(values, np.where(SAMPLES > 0, SAMPLES, factor * np.expm1(_BELOW))):
        return None
    return {"param": shortest(factor)}


def _fit_never(_: Floats) -> Fields | None:
    """Of functions that overflow at SAMPLES, or are not defined there: they are read as operators only."""
    return None


def _fit_to(expected: Floats) -> Callable[[Floats], Fields | None]:
    """Of a function without fields, given what it gives at SAMPLES."""
    return lambda values: {} if same(values, expected) else None


def _fit_exactly_to(expected: Floats) -> Callable[[Floats], Fields | None]:
    """The same for one that rounds nothing."""
    return lambda values: {} if equal(values, expected) else None


_AT_MINUS_ONE = int(np.searchsorted(SAMPLES, -1.0))

_BELOW = np.minimum(SAMPLES, 0.0)

with np.errstate(over="ignore"):
    _SIGMOID = 1 / (1 + np.exp(-SAMPLES))

_SOFTPLUS = np.logaddexp(SAMPLES, 0)
_ERF = np.vectorize(erf, otypes=[np.float64])(SAMPLES / sqrt(2))
_GELU_TANH = np.tanh(sqrt(2 / pi) * (SAMPLES + 0.044715 * SAMPLES**3))

FITS: Mapping[str, Callable[[Floats], Fields | None]] = MappingProxyType(
    {
        "ReLU": _fit_relu,
        "PReLU": _fit_nothing,
        "Clip": _fit_clip,
        "Sigmoid": _fit_to(_SIGMOID),
        "HardSigmoid": _fit_hard_sigmoid,
        "SiLU": _fit_to(SAMPLES * _SIGMOID),
        "HardSwish": _fit_to(SAMPLES * np.clip(SAMPLES + 3, 0, 6) / 6),
        "Tanh": _fit_to(np.tanh(SAMPLES)),
        "GELU": _fit_to(SAMPLES * (1 + _ERF) / 2),
        "GELUTanh": _fit_to(SAMPLES * (1 + _GELU_TANH) / 2),
        "ELU": _fit_elu,
        "Softplus": _fit_to(_SOFTPLUS),
        "Mish": _fit_to(SAMPLES * np.tanh(_SOFTPLUS)),
        "Exp": _fit_never,
        "Log": _fit_never,
        "Sqrt": _fit_never,
        "Square": _fit_to(np.square(SAMPLES)),
        "Abs": _fit_exactly_to(np.abs(SAMPLES)),
        "Neg": _fit_exactly_to(-SAMPLES),
        "Reciprocal": _fit_never,
    }
)
"""By Kind: its other fields for a function that is of this kind, given what it is at SAMPLES; None where it is not."""


COMPOSING = frozenset({"Add", "Div", "Max", "Min", "Mul", "Reciprocal", "Sub", "Sum"})
"""Operators that may be the last of several that make up one function."""


def recognized(work: Work, node: OnnxNode, found: Sequence[Sampled]) -> Tensor | None:
    """The activation that a node completes, of as many nodes as possible; what it reads where it changes nothing."""
    if node.operator not in COMPOSING:
        return None
    for function in sorted(found, key=lambda s: -s.nodes):
        if equal(function.values, SAMPLES):
            return function.base
        for kind, fit in FITS.items():
            fields = fit(function.values)
            if fields is not None:
                return _activation(work, node, function.base, kind, fields)
    return None


def _activation(work: Work, node: OnnxNode, x: Tensor, kind: str, fields: Fields) -> Tensor:
    settled = work.settled(x)
    name = work.emit(node, lambda to: Activation(settled.name, to, kind, **fields))
    return Tensor(name, settled.dims)


def _read_relu(work: Work, node: OnnxNode) -> Tensor:
    return _activation(work, node, work.tensor(node), "ReLU", {"param": 0.0})


def _read_leaky_relu(work: Work, node: OnnxNode) -> Tensor:
    slope = real(node, "alpha", 0.01)
    return _activation(work, node, work.tensor(node), "ReLU", {"param": shortest(slope)})


def _read_prelu(work: Work, node: OnnxNode) -> Tensor:
    x, slopes = work.tensor(node), work.constant(node, 1, "slopes")
    if slopes.size == 1:
        return _activation(work, node, x, "ReLU", {"param": shortest(float(slopes.reshape(())))})
    params = {"Slopes": per_channel(work, x, slopes)}
    name = work.emit(node, lambda to: Activation(x.name, to, "PReLU"), params, stem=node.reads[1])
    return Tensor(name, x.dims)


def _read_clip(work: Work, node: OnnxNode) -> Tensor:
    """Bounds are attributes, or inputs since operator set 11; a missing one is the end of float32."""
    bounds = []
    for index, (name, default) in enumerate((("min", -LARGEST), ("max", LARGEST)), 1):
        given = work.constant(node, index, name) if node.has(index) else np.asarray(real(node, name, default))
        if given.size != 1:
            raise RefusedError(f"{name} of {show_shape(given.shape)}", "one number")
        bounds.append(float(given.reshape(())))
    fields = _bounded_by(*bounds)
    if fields is None:
        raise RefusedError(f"min={bounds[0]:g} and max={bounds[1]:g}", "min below max")
    return _activation(work, node, work.tensor(node), "Clip", fields)


def _read_hard_sigmoid(work: Work, node: OnnxNode) -> Tensor:
    alpha, beta = real(node, "alpha", 0.2), real(node, "beta", 0.5)
    if not 0 < alpha <= LARGEST or not abs(beta) <= LARGEST:
        raise RefusedError(f"alpha={alpha:g} and beta={beta:g}", "alpha above 0")
    return _activation(work, node, work.tensor(node), "HardSigmoid", {"alpha": shortest(alpha), "beta": shortest(beta)})


def _read_swish(work: Work, node: OnnxNode) -> Tensor:
    need("alpha", real(node, "alpha", 1.0), 1.0)
    return _activation(work, node, work.tensor(node), "SiLU", {})


def _read_elu(work: Work, node: OnnxNode) -> Tensor:
    return _activation(work, node, work.tensor(node), "ELU", {"param": shortest(real(node, "alpha", 1.0))})


def _read_gelu(work: Work, node: OnnxNode) -> Tensor:
    approximate = text(node, "approximate", "none")
    need("approximate", approximate, "none", "tanh")
    return _activation(work, node, work.tensor(node), "GELU" if approximate == "none" else "GELUTanh", {})


def _read_as(kind: str) -> Callable[[Work, OnnxNode], Tensor]:
    """An operator without attributes that is a function without fields."""
    return lambda work, node: _activation(work, node, work.tensor(node), kind, {})


def _read_pow(work: Work, node: OnnxNode) -> Tensor:
    tensor, power = work.tensor(node), work.constant(node, 1, "exponent")
    if power.size != 1 or power.reshape(()) != 2:
        raise RefusedError("such an exponent", "2, or a part of a larger function")
    return _activation(work, node, tensor, "Square", {})


def _read_part(work: Work, node: OnnxNode) -> Tensor:
    work.tensor(node)  # which may be an input, whose axes its first reader tells
    raise RefusedError(f"{node.operator} alone is no activation", "as a part of a larger function, such as HardSwish")


_PART = "part of an activation that is recognized as a whole: {}"

ACTIVATION_RULES = (
    Rule("Relu", _read_relu, "Activation Kind=ReLU"),
    Rule("LeakyRelu", _read_leaky_relu, "Activation Kind=ReLU", {"alpha": ANY}),
    Rule("PRelu", _read_prelu, "Activation Kind=PReLU; Kind=ReLU, of one slope", inputs=2),
    Rule("Clip", _read_clip, "Activation Kind=Clip", {"min": "below max", "max": "above min"}, inputs=3),
    Rule("HardSwish", _read_as("HardSwish"), "Activation Kind=HardSwish"),
    Rule("HardSigmoid", _read_hard_sigmoid, "Activation Kind=HardSigmoid", {"alpha": "above 0", "beta": ANY}),
    Rule("Sigmoid", _read_as("Sigmoid"), "Activation Kind=Sigmoid; x * Sigmoid(x) is SiLU"),
    Rule("Swish", _read_swish, "Activation Kind=SiLU", {"alpha": "1"}),
    Rule("Tanh", _read_as("Tanh"), "Activation Kind=Tanh"),
    Rule("Gelu", _read_gelu, "Activation Kind=GELU, Kind=GELUTanh", {"approximate": "none, tanh"}),
    Rule("Elu", _read_elu, "Activation Kind=ELU", {"alpha": ANY}),
    Rule("Softplus", _read_as("Softplus"), "Activation Kind=Softplus"),
    Rule("Mish", _read_as("Mish"), "Activation Kind=Mish"),
    Rule("Exp", _read_as("Exp"), "Activation Kind=Exp"),
    Rule("Log", _read_as("Log"), "Activation Kind=Log"),
    Rule("Sqrt", _read_as("Sqrt"), "Activation Kind=Sqrt"),
    Rule("Abs", _read_as("Abs"), "Activation Kind=Abs"),
    Rule("Neg", _read_as("Neg"), "Activation Kind=Neg"),
    Rule("Reciprocal", _read_as("Reciprocal"), "Activation Kind=Reciprocal"),
    Rule("Erf", _read_part, _PART.format("x / 2 * (1 + Erf(x / sqrt(2)))")),
    Rule("Pow", _read_pow, "Activation Kind=Square; part of x^3 in GELUTanh", inputs=2),
)
