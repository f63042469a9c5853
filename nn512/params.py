"""The parameters of a graph: checked, drawn at random, and as files.

A set of parameters is a mapping from the names of `graph.parameters` to float32 arrays. As a file it is an `.npz` with
those names, or a `.bin` with the bytes of the Params struct, which a C program can `fread`: all arrays one after
another, sorted bytewise by name, in the byte order of the machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from nn512.arrays import MOST_BYTES, Array, PathLike, load_arrays, save_arrays, write_file
from nn512.errors import UsageError
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Graph,
    Layer,
    Parameter,
    Pooling,
    Shape,
    Softmax,
)

Params: TypeAlias = dict[str, NDArray[np.float32]]

_MOST_COMPLAINTS = 20


def params_bytes(graph: Graph) -> int:
    """Size of the Params struct."""
    return 4 * sum(parameter.elements for parameter in graph.parameters)


def check_params(graph: Graph, params: Mapping[str, Array]) -> Params:
    """The parameters of a graph as contiguous float32 arrays, in the order of the Params struct.

    Raises UsageError that lists every missing or unknown name, wrong shape and wrong type.
    """
    return check_arrays("parameter", {p.name: p.shape for p in graph.parameters}, params)


def check_arrays(what: str, shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, Array]) -> Params:
    """The arrays named in `shapes` as contiguous float32 arrays of those shapes; `what` is what messages call them.

    Raises UsageError that lists every missing or unknown name, wrong shape and wrong type.
    """
    complaints = [f"there is no {what} {name!r}" for name in given if name not in shapes]
    arrays: Params = {}
    for name, shape in shapes.items():
        if name not in given:
            complaints.append(f"{what} {name!r} ({show_shape(shape)}) is missing")
            continue
        array = np.asanyarray(given[name])
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:
            complaints.append(f"{what} {name!r} is {array.dtype}, not float32")
        elif array.shape != shape:
            complaints.append(f"{what} {name!r} is {show_shape(array.shape)}, not {show_shape(shape)}")
        else:
            arrays[name] = np.ascontiguousarray(array, np.float32)
    if complaints:
        rest = len(complaints) - _MOST_COMPLAINTS
        shown = complaints if rest <= 0 else [*complaints[:_MOST_COMPLAINTS], f"... and {rest} more"]
        raise UsageError("\n".join(shown))
    return arrays


def show_shape(shape: tuple[int, ...]) -> str:
    """A shape as messages write it: `64x3x7x7`."""
    return "x".join(map(str, shape)) or "a single number"


def to_bytes(graph: Graph, params: Mapping[str, Array]) -> bytes:
    """The Params struct of a graph. Raises what `check_params` does."""
    return b"".join(array.tobytes() for array in check_params(graph, params).values())


def from_bytes(graph: Graph, data: bytes) -> Params:
    """The parameters in the bytes of a Params struct. Raises UsageError where the size is another."""
    if len(data) != params_bytes(graph):
        raise UsageError(f"{len(data):,} bytes; the parameters of this graph take {params_bytes(graph):,}")
    params: Params = {}
    offset = 0
    for parameter in graph.parameters:
        values = np.frombuffer(data, np.float32, parameter.elements, offset)
        params[parameter.name] = values.reshape(parameter.shape).copy()
        offset += 4 * parameter.elements
    return params


def load_params(path: PathLike, graph: Graph) -> Params:
    """The parameters of a graph in an `.npz` file or, where the name ends so, a `.bin` file.

    Raises UsageError for a file that cannot be read or does not fit the graph.
    """
    _refuse_absurd(graph)
    try:
        if Path(path).suffix == ".bin":
            return from_bytes(graph, _read_exactly(path, params_bytes(graph)))
        names = {parameter.name for parameter in graph.parameters}
        return check_params(graph, load_arrays(path, names.__contains__))
    except UsageError as error:
        name = os.fspath(path)
        raise UsageError(str(error) if name in str(error) else f"{name!r} does not fit the graph:\n{error}") from error


def _read_exactly(path: PathLike, size: int) -> bytes:
    """The bytes of a file, one more than `size` at the most."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(size + 1)
    except (OSError, ValueError) as error:
        message = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {os.fspath(path)!r}: {message}") from error


def save_params(path: PathLike, graph: Graph, params: Mapping[str, Array]) -> None:
    """Write the parameters of a graph to an `.npz` file or, where the name ends so, a `.bin` file."""
    checked = check_params(graph, params)
    if Path(path).suffix == ".bin":
        with write_file(path) as stream:
            for array in checked.values():
                stream.write(array.tobytes())
    else:
        save_arrays(path, checked)


def _refuse_absurd(graph: Graph) -> None:
    size = params_bytes(graph)
    if size > MOST_BYTES:
        raise UsageError(f"the parameters of this graph take {size:,} bytes; the limit is {MOST_BYTES:,}")


def random_params(graph: Graph, seed: int) -> Params:
    """Parameters like those of a trained net: every tensor keeps a magnitude near 1 however deep the net is.

    Weights are normal with variance 2 / fan-in (K. He et al., "Delving Deep into Rectifiers", ICCV 2015). The recorded
    statistics of a batch norm are near those its input has under these weights, so that it does normalize. Every
    parameter depends on the seed, its own name and, through that estimate, on the layers before it.
    Raises UsageError for a negative seed and for parameters beyond 16 GiB.
    """
    if seed < 0:
        raise UsageError(f"a seed is a natural number, not {seed}")
    _refuse_absurd(graph)
    power: dict[str, float] = {node.to_tensor: 1.0 for node in graph.inputs}
    drawn: Params = {}
    parameters = graph.parameters
    of_layer: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        of_layer.setdefault(parameter.owner.to_tensor, []).append(parameter)
    for layer in graph.layers:
        for parameter in of_layer.get(layer.to_tensor, ()):
            drawn[parameter.name] = _draw(parameter, seed, _power_read(layer, power))
        power[layer.to_tensor] = min(max(_power_written(layer, power, graph.shapes), 1e-12), 1e12)
    return {parameter.name: drawn[parameter.name] for parameter in parameters}


def _draw(parameter: Parameter, seed: int, power: float) -> NDArray[np.float32]:
    """One parameter tensor; `power` is the mean square of what its layer reads."""
    name = int.from_bytes(hashlib.sha256(parameter.name.encode()).digest()[:8])
    rng = np.random.default_rng([seed, name])
    values: NDArray[np.float32]
    match parameter.name.removeprefix(parameter.owner.to_tensor):
        case "Weights":
            values = rng.standard_normal(parameter.shape, np.float32)
            values *= np.float32(sqrt(2 * parameter.shape[0] / parameter.elements))
        case "Biases":
            values = rng.normal(0, 0.1 * sqrt(power), parameter.shape).astype(np.float32)
        case "Means":
            values = rng.normal(0, 0.2 * sqrt(power), parameter.shape).astype(np.float32)
        case "Variances":
            values = (power * rng.uniform(0.5, 1.5, parameter.shape)).astype(np.float32)
        case "Scales":
            values = rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)
        case "Shifts":
            values = rng.normal(0, 0.2, parameter.shape).astype(np.float32)
        case suffix:
            raise AssertionError(f"no distribution for parameters {suffix!r}")
    return values


def _power_read(layer: Layer, power: Mapping[str, float]) -> float:
    match layer:
        case Add() | Concat():
            return power[layer.from_tensor1] + power[layer.from_tensor2]
        case _:
            return power[layer.from_tensor]


def _power_written(layer: Layer, power: Mapping[str, float], shapes: Mapping[str, Shape]) -> float:
    """Rough mean square of a layer's result under random parameters, for independent values around zero."""
    match layer:
        case Conv() | FullyConnected():
            return 2.01 * power[layer.from_tensor]
        case BatchNorm():
            return 1.2
        case Activation():
            return power[layer.from_tensor] * (1 + layer.param**2) / 2
        case Add() if layer.from_tensor1 == layer.from_tensor2:
            return 4 * power[layer.from_tensor1]
        case Add():
            return power[layer.from_tensor1] + power[layer.from_tensor2]
        case Concat():
            first, second = shapes[layer.from_tensor1].channels, shapes[layer.from_tensor2].channels
            total = first * power[layer.from_tensor1] + second * power[layer.from_tensor2]
            return total / (first + second)
        case Pooling():
            return power[layer.from_tensor] * (1.0 if layer.is_max else 0.5)
        case Softmax():
            return 1 / shapes[layer.to_tensor].channels ** 2
        case _:
            assert_never(layer)
