"""An ONNX model as the importer sees it: plain data, read out of a file or made by a test.

Nothing here needs the package `onnx`; `nn512.onnx.load` makes these out of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from nn512.arrays import Array

OLDEST_OPSET, NEWEST_OPSET = 7, 24
"""The operator sets that are read, both included."""

Extent: TypeAlias = int | str | None
"""A dimension: its size, its symbol, or nothing known."""

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node. A tensor that is left out is an empty name; `attributes` hold numbers, texts, tuples of them, arrays.

    An attribute of any other type, such as a graph, is an `Opaque`. `module` is the path of the submodule that the node
    is of, where PyTorch tells it.
    """

    operator: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    name: str = ""
    attributes: Mapping[str, Any] = field(default_factory=lambda: _NONE)
    module: str = ""

    @property
    def label(self) -> str:
        """What messages call it: its name, or the tensor that it writes."""
        return self.name or next((name for name in self.writes if name), "")

    def has(self, index: int) -> bool:
        """Whether the input of that number is there."""
        return index < len(self.reads) and bool(self.reads[index])


@dataclass(frozen=True, slots=True)
class Opaque:
    """An attribute that no operator of ours has: a graph, a sequence of tensors, and the like."""

    what: str


@dataclass(frozen=True, slots=True)
class Declared:
    """An input or output as the model declares it: `type` is numpy's word, `dims` None where nothing is said."""

    name: str
    type: str = "float32"
    dims: tuple[Extent, ...] | None = None


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A model whose names are unique and resolved, with its nodes in an order in which they can be computed.

    `infer` tells the shapes of what a node writes, from those of what it reads, where the package onnx knows them;
    `complaint` what is wrong with the form of a node and with what it reads, and what is accepted.
    """

    opset: int
    nodes: tuple[OnnxNode, ...]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    constants: Mapping[str, Array] = field(default_factory=lambda: _NONE)
    declared: Mapping[str, tuple[Extent, ...]] = field(default_factory=lambda: _NONE)
    origin: str = "model"
    infer: Callable[[OnnxNode, Sequence[object]], Sequence[tuple[int, ...] | None]] | None = None
    complaint: Callable[[OnnxNode, Sequence[object]], tuple[str, str] | None] = lambda _, __: None


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a model is imported: `dims` pin extents, by symbol or as `input.axis`; starts and ends are tensors.

    `invented_ends`: nobody gave the outputs their names, and so they bear those of their layers.
    """

    dims: Mapping[str, int]
    starts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    prefix: str = "NN512"
    invented_ends: bool = False


def show(value: object) -> str:
    """An attribute's value as messages write it."""
    match value:
        case tuple():
            text = ",".join(map(show, value))
        case float():
            text = f"{value:g}"
        case Opaque():
            text = f"({value.what})"
        case _ if hasattr(value, "shape"):
            text = f"(a tensor of {'x'.join(map(str, value.shape)) or 'a single number'})"
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


_LONGEST = 80
