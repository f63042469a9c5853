"""Functions of two tensors: operands in either order, of fewer axes, of several tensors, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from nn512.graph.node import Layer
from nn512.onnx.imported import Imported
from nn512.onnx.refusal import UnsupportedError
from nn512.onnx.view import elements
from nn512.params import array_of

Import = Callable[..., Imported]

RNG = np.random.default_rng(0)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}


def kinds(net: Imported) -> str:
    return " ".join(type(layer).__name__ for layer in net.graph.layers)


def layers(net: Imported, kind: str) -> list[Layer]:
    return [layer for layer in net.graph.layers if type(layer).__name__ == kind]


def run(net: Imported, **arrays: Any) -> Any:
    """What ONNX sees of the only output, for inputs as ONNX sees them."""
    data = {}
    for seen in net.inputs:
        shape = net.graph.shapes[seen.tensor]
        places = elements(seen.dims, np.arange(shape.elements).reshape(shape))
        flat = np.empty(shape.elements, np.float32)
        flat[places.reshape(-1)] = arrays[seen.onnx].reshape(-1)
        (node,) = (node for node in net.graph.inputs if node.to_tensor == seen.tensor)
        data[seen.tensor] = array_of(node, flat.reshape(shape))
    (seen,) = net.outputs
    return elements(seen.dims, reference.run(net.graph, net.params, data)[seen.tensor].value)


def numbers(*shape: int) -> Any:
    return RNG.uniform(0.5, 4.0, shape).astype(np.float32)


SHAPES = ((1, 4, 5, 6), (1, 4, 1, 1), (1, 1, 5, 6), (1, 1, 1, 1), (1, 4, 5, 1), (1, 4, 1, 6))
"""Of the second operand, beside a first one of 1 x 4 x 5 x 6."""


@pytest.mark.parametrize("operator", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_larger_operand_is_first(operator: str, shape: tuple[int, ...], imported: Import) -> None:
    net = imported((operator, "x,z", "y"), inputs={"x": SHAPES[0], "z": shape})
    assert kinds(net) == operator
    x, z = numbers(*SHAPES[0]), numbers(*shape)
    np.testing.assert_array_equal(run(net, x=x, z=z), FUNCTIONS[operator](x.astype(float), z))


@pytest.mark.parametrize("operator", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_the_larger_operand_is_second(operator: str, shape: tuple[int, ...], imported: Import) -> None:
    """Operands change places; of a difference the larger one is negated first, of a quotient its reciprocal taken."""
    net = imported((operator, "z,x", "y"), inputs={"x": SHAPES[0], "z": shape})
    assert kinds(net) == {"Sub": "BatchNorm Add", "Div": "Activation Mul"}.get(operator, operator)
    x, z = numbers(*SHAPES[0]), numbers(*shape)
    np.testing.assert_allclose(run(net, x=x, z=z), FUNCTIONS[operator](z.astype(float), x), rtol=1e-15)


@pytest.mark.parametrize(("constant", "expected"), [(1.0, "Activation"), (-3.0, "Activation BatchNorm")])
def test_a_constant_by_a_tensor(constant: float, expected: str, imported: Import) -> None:
    net = imported(("Div", "c,x", "y"), constants={"c": constant}, x=SHAPES[0])
    assert kinds(net) == expected
    x = numbers(*SHAPES[0])
    np.testing.assert_allclose(run(net, x=x), constant / x.astype(float), rtol=1e-15)


def test_fewer_axes(imported: Import) -> None:
    """Axes that are not there are of extent 1 and stand in front."""
    nodes = (
        ("GlobalAveragePool", "x", "p"),
        ("Reshape", "p,s", "c"),  # 4 x 1 x 1
        ("Mul", "c,x", "m"),
        ("Add", "m,c", "y"),
    )
    net = imported(*nodes, constants={"s": np.array([4, 1, 1])})
    assert kinds(net) == "Pooling Mul Add"
    x = numbers(1, 4, 5, 6)
    mean = x.astype(float).mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(run(net, x=x), x * mean + mean)


@pytest.mark.parametrize("operator", ["Sum", "Max", "Min"])
def test_several_tensors(operator: str, imported: Import) -> None:
    inputs = {"a": (1, 4, 1, 1), "b": (1, 4, 5, 6), "c": (1, 1, 5, 6)}
    net = imported((operator, "a,b,c,b", "y"), inputs=inputs)
    kind = "Add" if operator == "Sum" else operator
    assert kinds(net) == f"{kind} {kind} {kind}"
    arrays = {name: numbers(*shape) for name, shape in inputs.items()}
    a, b, c = (array.astype(float) for array in arrays.values())
    function = FUNCTIONS[kind]
    np.testing.assert_array_equal(run(net, **arrays), function(function(function(a, b), c), b))


def test_a_single_tensor_is_itself(imported: Import) -> None:
    assert kinds(imported(("Relu", "x", "r"), ("Max", "r", "y"))) == "Activation"


def test_channels_last(imported: Import) -> None:
    """A gate of 1 x 1 x 1 x C beside 1 x H x W x C is one of channels."""
    nodes = (
        ("Transpose", "x", "t", {"perm": (0, 3, 1, 2)}),
        ("Relu", "t", "r"),
        ("GlobalMaxPool", "r", "p"),
        ("Transpose", "p", "q", {"perm": (0, 2, 3, 1)}),
        ("Transpose", "r", "u", {"perm": (0, 2, 3, 1)}),
        ("Mul", "q,u", "y"),
    )
    net = imported(*nodes, x=(1, 5, 6, 4))
    x = numbers(1, 5, 6, 4)
    np.testing.assert_array_equal(run(net, x=x), x.astype(float) * x.max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize(
    ("operator", "first", "second", "told"),
    [
        ("Div", (1, 4, 1, 1), (1, 1, 5, 6), "Div of 1x4x1x1 and 1x1x5x6"),
        ("Mul", (1, 4, 1, 1), (1, 1, 5, 6), "Mul of 1x4x1x1 and 1x1x5x6"),
        ("Max", (1, 4, 5, 1), (1, 4, 1, 6), "Max of 1x4x5x1 and 1x4x1x6"),
        ("Add", (1, 4, 5, 6), (1, 2, 5, 6), "Add of 1x4x5x6 and 1x2x5x6"),
    ],
)
def test_what_is_refused(
    operator: str, first: tuple[int, ...], second: tuple[int, ...], told: str, imported: Import
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        imported((operator, "x,z", "y"), inputs={"x": first, "z": second})
    (refusal,) = caught.value.refusals
    assert told in str(refusal)
