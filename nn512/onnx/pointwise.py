"""Functions of one number that a model spells in several nodes: recognized by what they give, not by how they look.

HardSwish is x * HardSigmoid(x), x * Clip(x + 3, 0, 6) / 6, and more. Every tensor that is computed from another one
element by element keeps what it is at SAMPLES of that other tensor. Where an activation function of the language gives
the same on all of them, it is that function: SAMPLES stand dense where functions bend, and reach to the ends of
float32, so that a sum, product or bound more would show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import erf
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nn512.onnx.model import OnnxNode
from nn512.onnx.work import Known, Tensor, Value

Floats: TypeAlias = NDArray[np.float64]


def _samples() -> Floats:
    near = np.linspace(-12, 12, 3001) + 1e-3
    far = np.logspace(-30, 30, 241)
    samples = np.sort(np.concatenate([near, far, -far, np.arange(-8.0, 9.0)]))
    samples.setflags(write=False)
    return samples


SAMPLES = _samples()
"""Arguments at which functions are compared."""

TOLERANCE = 1e-6
"""Largest relative difference: constants such as 1/6 are rounded to float32 in models."""

LONGEST = 12
"""Most nodes that one function is recognized in."""


MOST_BASES = 6
"""Tensors that one is known as a function of; the nearest are kept."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A tensor as a function of the elements of another: what it is at SAMPLES, by how many nodes."""

    base: Tensor
    values: Floats
    nodes: int


Bases: TypeAlias = tuple[Sampled, ...]
"""One tensor as a function of several others."""


def same(first: Floats, second: Floats) -> bool:
    """Whether two functions give the same, but for the rounding of constants."""
    return _same(first[::_COARSE], second[::_COARSE], SAMPLES[::_COARSE]) and _same(first, second, SAMPLES)


def equal(first: Floats, second: Floats) -> bool:
    """Whether two functions give the same to the last digit."""
    return bool((first[::_COARSE] == second[::_COARSE]).all() and (first == second).all())


_COARSE = 97
"""Every such sample is compared first: that is enough to tell most functions apart."""


def _same(first: Floats, second: Floats, samples: Floats) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(first - second) > TOLERANCE * np.maximum(np.abs(second), np.minimum(np.abs(samples), 1.0))
    return bool(np.isfinite(first).all() and not off.any())


def sampled(node: OnnxNode, read: Sequence[Value | None], known: Mapping[str, Bases]) -> Bases:
    """What a node writes as a function of the elements of other tensors, the nearest first."""
    function = FUNCTIONS.get(node.operator)
    tensors = {value.name: value for value in read if isinstance(value, Tensor)}
    if function is None or not tensors or any(tensor.padding is not None for tensor in tensors.values()):
        return ()
    first = next(iter(tensors.values()))
    if any(isinstance(value, Tensor) and value.dims != first.dims for value in read):
        return ()
    of = {name: _bases(tensor, known) for name, tensor in tensors.items()}
    results = []
    for base in of[first.name]:
        if not all(base in found for found in of.values()):
            continue
        nodes = 1 + sum(found[base].nodes for found in of.values())
        values = _values(function, node, read, {name: found[base].values for name, found in of.items()})
        if values is not None and nodes <= LONGEST:
            results.append(Sampled(of[first.name][base].base, values, nodes))
    return tuple(results[:MOST_BASES])


def _bases(tensor: Tensor, known: Mapping[str, Bases]) -> dict[str, Sampled]:
    """By name, the tensors that this one is a function of; the first is itself."""
    found = {tensor.name: Sampled(tensor, SAMPLES, 0)}
    return found | {s.base.name: s for s in known.get(tensor.name, ()) if s.base.dims == tensor.dims}


def _values(
    function: Callable[..., Any], node: OnnxNode, read: Sequence[Value | None], of: Mapping[str, Floats]
) -> Floats | None:
    """What the node gives at SAMPLES; None where a constant is not one number."""
    arguments: list[Any] = []
    for value in read:
        match value:
            case Tensor():
                arguments.append(of[value.name])
            case Known() if value.array.size == 1 and value.array.dtype.kind == "f":
                arguments.append(float(value.array.reshape(())))
            case None:
                arguments.append(None)
            case _:
                return None
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(node.attributes, *arguments), np.float64)
    except (TypeError, ValueError):  # attributes or inputs that make no sense: the rule says so
        return None
    return values if values.shape == SAMPLES.shape else None


# --- the functions of ONNX --------------------------------------------------------------------------------------------

_Attributes: TypeAlias = Mapping[str, Any]


def _clip(attributes: _Attributes, x: Floats, least: float | None = None, most: float | None = None) -> Floats:
    least = attributes.get("min", least)
    most = attributes.get("max", most)
    return np.asarray(np.clip(x, -np.inf if least is None else least, np.inf if most is None else most))


def _hard_sigmoid(attributes: _Attributes, x: Floats) -> Floats:
    return np.asarray(np.clip(attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5), 0, 1))


def _leaky_relu(attributes: _Attributes, x: Floats) -> Floats:
    return np.where(x < 0, attributes.get("alpha", 0.01) * x, x)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(_: _Attributes, *arguments: Any) -> Any:  # noqa: ANN401 - numbers and arrays
        if isinstance(function, np.ufunc) and len(arguments) != function.nin:
            raise TypeError("one argument too many would be where numpy writes to")
        return function(*arguments)

    return apply


def _sum(*terms: Any) -> Any:  # noqa: ANN401 - numbers and arrays
    return sum(terms[1:], terms[0])


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "Abs": _plain(np.abs),
        "Add": _plain(np.add),
        "Clip": _clip,
        "Div": _plain(np.divide),
        "Erf": _plain(np.vectorize(erf, otypes=[np.float64])),
        "Exp": _plain(np.exp),
        "Elu": lambda attributes, x: np.where(x > 0, x, attributes.get("alpha", 1.0) * np.expm1(np.minimum(x, 0))),
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _plain(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
        "LeakyRelu": _leaky_relu,
        "Log": _plain(np.log),
        "Max": _plain(lambda *x: np.maximum.reduce(np.broadcast_arrays(*x))),
        "Mish": _plain(lambda x: x * np.tanh(np.logaddexp(x, 0))),
        "Min": _plain(lambda *x: np.minimum.reduce(np.broadcast_arrays(*x))),
        "Mul": _plain(np.multiply),
        "Neg": _plain(np.negative),
        "PRelu": _plain(lambda x, slope: np.where(x < 0, slope * x, x)),
        "Pow": _plain(np.power),
        "Reciprocal": _plain(np.reciprocal),
        "Relu": _plain(lambda x: np.maximum(x, 0)),
        "Sigmoid": _plain(lambda x: 1 / (1 + np.exp(-x))),
        "Softplus": _plain(lambda x: np.logaddexp(x, 0)),
        "Sqrt": _plain(np.sqrt),
        "Sub": _plain(np.subtract),
        "Sum": _plain(_sum),
        "Swish": lambda attributes, x: x / (1 + np.exp(-attributes.get("alpha", 1.0) * x)),
        "Tanh": _plain(np.tanh),
    }
)
"""By operator, of the attributes and of inputs that are numbers or what such a function gives at SAMPLES."""
