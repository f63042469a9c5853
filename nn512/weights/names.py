"""Which array of a file is which parameter of a graph.

`conv1Weights` is an array of that name; or `conv1.weight` and `conv1_weight`, and `features0convWeights` is
`features.0.conv.weight`, for a tensor is called as the importer would call it. A map says it for other names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nn512.arrays import PathLike
from nn512.errors import UsageError
from nn512.graph import Graph, Parameter
from nn512.onnx.naming import readable

LEAVES: Mapping[str, tuple[str, ...]] = {
    "Weights": ("weight",),
    "Biases": ("bias",),
    "Scales": ("weight", "gamma"),
    "Shifts": ("bias", "beta"),
    "Means": ("running_mean",),
    "Variances": ("running_var",),
    "Slopes": ("weight",),
}
"""What PyTorch calls the parameters of a module; gamma and beta are older names."""

_LEAVES = tuple(dict.fromkeys(leaf for leaves in LEAVES.values() for leaf in leaves))
_MARKS = "._"
"""What stands between the name of a module and those of its arrays."""

WITHOUT_MEANING = ("num_batches_tracked",)
"""Entries of state dicts that no result depends on."""

MOST_MAP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """The arrays that may be a parameter: one is right, several leave it open, none is missing.

    `sought` is the name under which it would have been found, for messages; `is_told` whether a map has it so.
    """

    parameter: Parameter
    arrays: tuple[str, ...]
    sought: str
    is_told: bool = False


def read_map(path: PathLike) -> dict[str, str]:
    """A map of names: JSON as `nn512 import --map` writes it, or its `parameters` alone.

    Names of ours, of parameters or of tensors that have them, to names in a file of weights, of arrays or of modules.
    Raises UsageError for a file that is anything else.
    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MOST_MAP_BYTES + 1)
        if len(text) > MOST_MAP_BYTES:
            raise UsageError(f"{name!r} has more than {MOST_MAP_BYTES:,} bytes")
        read = json.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {name!r}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name!r} is no JSON: {str(error)[:200]}") from error
    table = read.get("parameters", read) if isinstance(read, dict) else None
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise UsageError(f'{name!r} is no map of names: {{"conv1Weights": "features.0.weight", ...}} is one')
    return {str(ours): theirs for ours, theirs in table.items()}


def find(graph: Graph, arrays: Mapping[str, object], names: Mapping[str, str]) -> list[Found]:
    """For every parameter the arrays that it may be, by a map of names where that has a word on it."""
    called: dict[tuple[str, str], list[str]] = {}
    for array in arrays:
        module, leaf = _parts(array)
        called.setdefault((readable(module), leaf), []).append(array)
    modules = _modules(graph, names)
    return [_find(parameter, modules, arrays, names, called) for parameter in graph.parameters]


def unknown(graph: Graph, names: Mapping[str, str]) -> Iterator[str]:
    """Names of a map that no parameter and no tensor with parameters has."""
    ours = {p.name for p in graph.parameters} | {_tensor(p) for p in graph.parameters}
    yield from (name for name in names if name not in ours)


def _find(
    parameter: Parameter,
    modules: Mapping[str, str],
    arrays: Mapping[str, object],
    names: Mapping[str, str],
    called: Mapping[tuple[str, str], list[str]],
) -> Found:
    leaves = LEAVES.get(_suffix(parameter), ())
    if parameter.name in names:
        told = names[parameter.name]
        return Found(parameter, (told,) if told in arrays else (), told, is_told=True)
    if _tensor(parameter) in modules:
        module = modules[_tensor(parameter)]
        sought = [module + mark + leaf for mark in _MARKS for leaf in leaves]
        return Found(parameter, tuple(name for name in sought if name in arrays), sought[0] if sought else module)
    if parameter.name in arrays:
        return Found(parameter, (parameter.name,), parameter.name)
    alike = [name for leaf in leaves for name in called.get((_tensor(parameter), leaf), ())]
    return Found(parameter, tuple(alike), f"{_tensor(parameter)}.{leaves[0]}" if leaves else parameter.name)


def _modules(graph: Graph, names: Mapping[str, str]) -> dict[str, str]:
    """What the map says of whole layers: by themselves, or by one of their parameters."""
    modules = {}
    for parameter in graph.parameters:
        tensor = _tensor(parameter)
        if tensor in names:
            modules[tensor] = names[tensor]
        elif parameter.name in names:
            module, leaf = _parts(names[parameter.name])
            if leaf in LEAVES.get(_suffix(parameter), ()):
                modules.setdefault(tensor, module)
    return modules


def _parts(array: str) -> tuple[str, str]:
    """The module of an array and its own name there, which is empty where it says nothing."""
    for leaf in _LEAVES:
        if array.endswith(leaf) and array.removesuffix(leaf).endswith(tuple(_MARKS)):
            return array[: -len(leaf) - 1], leaf
    return array, ""


def _tensor(parameter: Parameter) -> str:
    tensor = parameter.owner.writes
    assert tensor is not None
    return tensor


def _suffix(parameter: Parameter) -> str:
    return parameter.name.removeprefix(_tensor(parameter))
