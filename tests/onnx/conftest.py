"""Models as plain data: most tests of the importer need no package onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from nn512.onnx.imported import Imported
from nn512.onnx.importing import convert
from nn512.onnx.model import Cut, Declared, OnnxModel, OnnxNode

Import = Callable[..., Imported]


@pytest.fixture
def imported() -> Import:
    """A function that imports the nodes given as (operator, reads, writes, attributes), from x to y."""

    def read(
        *nodes: tuple[Any, ...],
        x: Sequence[int | str | None] = (1, 4, 5, 6),
        to: str = "y",
        opset: int = 17,
        constants: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Sequence[int | str | None]] | None = None,
        dims: Mapping[str, int] | None = None,
        infer: Callable[..., Sequence[tuple[int, ...] | None]] | None = None,
    ) -> Imported:
        made = tuple(
            OnnxNode(node[0], tuple(node[1].split(",")) if node[1] else (), tuple(node[2].split(",")), "", *node[3:])
            for node in nodes
        )
        declared = tuple(Declared(name, dims=tuple(shape)) for name, shape in (inputs or {"x": x}).items())
        arrays = {name: np.asarray(array) for name, array in (constants or {}).items()}
        outputs = tuple(Declared(name) for name in to.split(","))
        return convert(OnnxModel(opset, made, declared, outputs, arrays, infer=infer), Cut(dims or {}))

    return read
