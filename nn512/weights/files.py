"""Parameters of a graph out of a file of trained weights, whatever its kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from nn512.arrays import PathLike, load_arrays
from nn512.errors import UsageError
from nn512.graph import Graph
from nn512.params import Params
from nn512.weights.fitting import Liberties, fit
from nn512.weights.safetensors import read_safetensors
from nn512.weights.stored import Stored
from nn512.weights.torch_file import read_torch


def _read_npz(path: PathLike) -> dict[str, Stored]:
    return {name: Stored.of(array) for name, array in load_arrays(path).items()}


READERS: Mapping[str, Callable[[PathLike], Mapping[str, Stored]]] = {
    ".safetensors": read_safetensors,
    ".pt": read_torch,
    ".pth": read_torch,
    ".npz": _read_npz,
}
"""What reads a file, by its suffix."""


def load_weights(
    path: PathLike, graph: Graph, names: Mapping[str, str] | None = None, liberties: Liberties | None = None
) -> Params:
    """The parameters of a graph in a file of weights, by its names or by a map from ours to its names.

    Raises UsageError for a file that is broken or does not fit, CannotRunError where a package is missing.
    """
    suffix = Path(path).suffix
    if suffix not in READERS:
        raise UsageError(f"weights are read from files named {', '.join(READERS)}, not {os.fspath(path)!r}")
    arrays = READERS[suffix](path)
    try:
        return fit(graph, arrays, names, liberties)
    except UsageError as error:
        raise UsageError(f"{os.fspath(path)!r} does not fit the graph:\n{error}") from error
