"""The parameters of a graph: checked, drawn at random, and as files.

A set of parameters is a mapping from the names of `graph.parameters` to float32 arrays. As a file it is an `.npz` with
those names, or a `.bin` with the bytes of the Params struct, which a C program can `fread`: all arrays one after
another, sorted bytewise by name, in the byte order of the machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from math import sqrt
from pathlib import Path
from typing import IO, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from nn512.arrays import MOST_BYTES, Array, PathLike, load_arrays, write_arrays, write_together
from nn512.errors import UsageError
from nn512.graph import Distribution, Graph, Input, Moments, Parameter

Params: TypeAlias = dict[str, NDArray[np.float32]]

_MOST_COMPLAINTS = 20

_STANDARD = Moments(0.0, 1.0)
"""What random values of inputs are like."""

_NO_PARAMETERS = b"\0"
"""The Params struct of a graph without parameters: C has no empty structs."""


def params_bytes(graph: Graph) -> int:
    """Size of the Params struct."""
    return 4 * sum(parameter.elements for parameter in graph.parameters)


def check_params(graph: Graph, params: Mapping[str, Array]) -> Params:
    """The parameters of a graph as contiguous float32 arrays, in the order of the Params struct.

    Raises UsageError that lists every missing or unknown name, wrong shape and wrong type.
    """
    return check_arrays("parameter", {p.name: p.shape for p in graph.parameters}, params)


def array_of(node: Input, tensor: Array) -> Array:
    """The array that the caller has of an input, from its tensor, channels x height x width."""
    return np.ascontiguousarray(tensor.transpose(1, 2, 0)) if node.interleaved else tensor


def tensor_of(node: Input, array: Array) -> Array:
    """An input as channels x height x width, from the array that the caller has."""
    return array.transpose(2, 0, 1) if node.interleaved else array


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
    if len(data) != params_bytes(graph) and (graph.parameters or data != _NO_PARAMETERS):
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
    refuse_absurd(graph)
    try:
        if Path(path).suffix == ".bin":
            return from_bytes(graph, _read_exactly(path, params_bytes(graph)))
        names = {parameter.name for parameter in graph.parameters}
        return check_params(graph, load_arrays(path, names))
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
    write_together((path, params_writer(path, graph, params)))


def params_writer(path: PathLike, graph: Graph, params: Mapping[str, Array]) -> Callable[[IO[bytes]], object]:
    """The function that writes what `save_params` does, to a stream. Raises UsageError for other parameters."""
    checked = check_params(graph, params)

    def write(stream: IO[bytes]) -> None:
        if Path(path).suffix != ".bin":
            write_arrays(stream, checked)
            return
        for array in checked.values():
            stream.write(array.tobytes())
        if not checked:
            stream.write(_NO_PARAMETERS)

    return write


def refuse_absurd(graph: Graph) -> None:
    """UsageError for a graph whose parameters take more than MOST_BYTES."""
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
    refuse_absurd(graph)
    values = dict.fromkeys((node.to_tensor for node in graph.inputs), _STANDARD)
    drawn: Params = {}
    for layer in graph.layers:
        read = [values[name] for name in layer.reads]
        for parameter in layer.parameters(graph.shapes):
            drawn[parameter.name] = _draw(parameter, seed, read[0] if read else _STANDARD)
        values[layer.to_tensor] = _bounded(layer.moments(read, graph.shapes))
    return {parameter.name: drawn[parameter.name] for parameter in graph.parameters}


def _draw(parameter: Parameter, seed: int, read: Moments) -> NDArray[np.float32]:
    """One parameter tensor of a layer that reads such values."""
    name = int.from_bytes(hashlib.sha256(parameter.name.encode()).digest()[:8])
    rng = np.random.default_rng([seed, name])
    values: NDArray[np.float32]
    match parameter.distribution:
        case Distribution.WEIGHTS:
            values = rng.standard_normal(parameter.shape, np.float32)
            values *= np.float32(sqrt(2 * parameter.shape[0] / parameter.elements))
        case Distribution.BIASES:
            values = rng.normal(0, 0.1 * sqrt(read.power), parameter.shape).astype(np.float32)
        case Distribution.MEANS:
            values = rng.normal(read.mean, 0.2 * sqrt(read.variance), parameter.shape).astype(np.float32)
        case Distribution.VARIANCES:
            values = (read.variance * rng.uniform(0.5, 1.5, parameter.shape)).astype(np.float32)
        case Distribution.SCALES:
            values = rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)
        case Distribution.SHIFTS:
            values = rng.normal(0, 0.2, parameter.shape).astype(np.float32)
        case Distribution.SLOPES:
            values = rng.uniform(0.0, 0.5, parameter.shape).astype(np.float32)
        case _:
            assert_never(parameter.distribution)
    return values


def _bounded(moments: Moments) -> Moments:
    """Moments that nets of any depth can go on with."""
    return Moments(min(max(moments.mean, -1e6), 1e6), min(max(moments.variance, 1e-12), 1e12))
