"""What tests of the import have in common: small numbers, kinds of layers, results as ONNX sees them, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from nn512.onnx.imported import Imported
from nn512.onnx.refusal import UnsupportedError
from nn512.onnx.view import elements
from nn512.params import array_of

Import = Callable[..., Imported]

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.integers(-8, 9, shape).astype(np.float32)


def kinds(net: Imported) -> str:
    """The kinds of the layers, in order."""
    return " ".join(type(layer).__name__ for layer in net.graph.layers)


def run(net: Imported, **arrays: Any) -> dict[str, Any]:
    """What ONNX sees of the outputs, for inputs as ONNX sees them."""
    data = {}
    for seen in net.inputs:
        shape = net.graph.shapes[seen.tensor]
        places = elements(seen.dims, np.arange(shape.elements).reshape(shape))
        flat = np.empty(shape.elements, np.float32)
        flat[places.reshape(-1)] = arrays[seen.onnx].reshape(-1)
        (node,) = (node for node in net.graph.inputs if node.to_tensor == seen.tensor)
        data[seen.tensor] = array_of(node, flat.reshape(shape))
    results = reference.run(net.graph, net.params, data)
    return {seen.onnx: elements(seen.dims, results[seen.tensor].value) for seen in net.outputs}


def refusals(net: Import, *arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(UnsupportedError) as caught:
        net(*arguments, **options)
    return [str(refusal) for refusal in caught.value.refusals]
