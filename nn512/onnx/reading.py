"""The way in: an ONNX file to an imported graph, and to the files that the command line writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from nn512.arrays import PathLike, write_together
from nn512.onnx import view
from nn512.onnx.imported import Imported, Seen
from nn512.onnx.importing import convert
from nn512.onnx.load import load_model
from nn512.onnx.model import Cut
from nn512.onnx.naming import prefix_of
from nn512.params import params_writer


def from_onnx(
    path: PathLike,
    *,
    dims: Mapping[str, int] | None = None,
    starts: tuple[str, ...] = (),
    ends: tuple[str, ...] = (),
    prefix: str | None = None,
) -> Imported:
    """Import the ONNX model in a file: its graph, its parameters, and what became of its tensors.

    `dims` pins extents that the model leaves open, by their symbol or as `input.axis`; an open batch is 1. `starts` are
    tensors to take as inputs, `ends` those to take as outputs. `prefix` is that of the emitted C, by default made of
    the file's name.

    Raises UnsupportedError with everything that the language cannot say, UsageError for a broken model or a wrong
    argument, CannotRunError where the package onnx is missing.
    """
    given = prefix_of(Path(path).stem) if prefix is None else prefix
    return convert(load_model(path), Cut(dict(dims or {}), tuple(starts), tuple(ends), given))


def save_imported(
    imported: Imported, graph: PathLike, params: PathLike | None = None, names: PathLike | None = None
) -> None:
    """Write an import: the graph's text, its parameters (.npz or .bin), and as JSON what became of names.

    All files appear together, or none does.
    """
    files: list[tuple[PathLike, Callable[[IO[bytes]], object]]] = [
        (graph, lambda stream: stream.write(imported.text.encode()))
    ]
    if params is not None:
        files.append((params, params_writer(params, imported.graph, imported.params)))
    if names is not None:
        text = json.dumps(names_of(imported), indent=1) + "\n"
        files.append((names, lambda stream: stream.write(text.encode())))
    write_together(*files)


def names_of(imported: Imported) -> dict[str, Any]:
    """The model's names and shapes beside ours, as data.

    `axes` says for every axis of the ONNX tensor which axes of ours it runs through, the last one fastest.
    """
    return {
        "inputs": [_seen(seen) for seen in imported.inputs],
        "outputs": [_seen(seen) for seen in imported.outputs],
        "tensors": [_seen(seen) for seen in imported.inner],
        "parameters": dict(imported.parameters),
        "unused_inputs": list(imported.unused),
    }


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "onnx": seen.onnx,
        "tensor": seen.tensor,
        "shape": view.sizes(seen.dims),
        "axes": list(seen.axes),
    }
