"""What evaluations of a graph have in common: what they are given, checked, and the layers in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nn512.errors import UsageError
from nn512.graph.graph import Graph
from nn512.graph.nodes import Conv, FullyConnected, Layer, tensor_written, tensors_read

Single: TypeAlias = npt.NDArray[np.float32]

_MOST_PROBLEMS = 20
"""Problems with arrays that one message lists."""


def check_arrays(
    what: str, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, npt.ArrayLike]
) -> dict[str, Single]:
    """`arrays` if they are float32 and have exactly these names and shapes.

    Else a UsageError naming every fault, in the words in which the rest of nn512 complains of the same arrays.
    """
    problems = [f"there is no {what} {name!r}" for name in arrays if name not in shapes]
    checked: dict[str, Single] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            problems.append(f"{what} {name!r} ({_times(shape)}) is missing")
            continue
        array = np.asarray(arrays[name])
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:
            problems.append(f"{what} {name!r} is {array.dtype}, not float32")
        elif array.shape != shape:
            problems.append(f"{what} {name!r} is {_times(array.shape)}, not {_times(shape)}")
        else:
            checked[name] = array.astype(np.float32, copy=False)  # of either byte order
    if problems:
        rest = len(problems) - _MOST_PROBLEMS
        raise UsageError("\n".join([*problems[:_MOST_PROBLEMS], *([f"... and {rest} more"] if rest > 0 else [])]))
    return checked


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


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
