"""Which functions are recognized in rows of operators, on models made here: no package onnx is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn512.onnx.pointwise import FUNCTIONS, SAMPLES
from tests.onnx.reading import Import, kinds, numbers, run

SIXTH = float(np.float32(1 / 6))

SPELLINGS: dict[str, list[tuple[Any, ...]]] = {
    "Kind=HardSwish#1": [("HardSigmoid", "x", "h", {"alpha": SIXTH, "beta": 0.5}), ("Mul", "x,h", "y")],
    "Kind=HardSwish#2": [
        ("Add", "x,three", "a"),
        ("Clip", "a,zero,six", "c"),
        ("Mul", "x,c", "m"),
        ("Div", "m,six", "y"),
    ],
    "Kind=HardSwish#3": [
        ("Add", "three,x", "a"),
        ("Relu", "a", "r"),
        ("Min", "r,six", "c"),
        ("Mul", "c,sixth", "d"),
        ("Mul", "d,x", "y"),
    ],
    "Kind=SiLU#1": [("Sigmoid", "x", "s"), ("Mul", "x,s", "y")],
    "Kind=SiLU#2": [("Neg", "x", "n"), ("Exp", "n", "e"), ("Add", "e,one", "d"), ("Div", "x,d", "y")],
    "Kind=GELU#1": [
        ("Div", "x,root2", "d"),
        ("Erf", "d", "e"),
        ("Add", "e,one", "a"),
        ("Mul", "x,a", "m"),
        ("Mul", "m,half", "y"),
    ],
    "Kind=GELU#2": [
        ("Mul", "x,half", "h"),
        ("Div", "x,root2", "d"),
        ("Erf", "d", "e"),
        ("Add", "one,e", "a"),
        ("Mul", "h,a", "y"),
    ],
    "Kind=GELUTanh": [
        ("Pow", "x,three", "p"),
        ("Mul", "p,c", "q"),
        ("Add", "x,q", "a"),
        ("Mul", "a,k", "u"),
        ("Tanh", "u", "t"),
        ("Add", "t,one", "s"),
        ("Mul", "x,s", "m"),
        ("Mul", "m,half", "y"),
    ],
    "Kind=Mish": [("Softplus", "x", "s"), ("Tanh", "s", "t"), ("Mul", "x,t", "y")],
    "Kind=Square#1": [("Mul", "x,x", "y")],
    "Kind=Square#2": [("Pow", "x,two", "y")],
    "Kind=Sigmoid": [("Neg", "x", "n"), ("Exp", "n", "e"), ("Add", "one,e", "d"), ("Reciprocal", "d", "y")],
    "Kind=HardSigmoid Alpha=0.16666667 Beta=0.5": [
        ("Add", "x,three", "a"),
        ("Clip", "a,zero,six", "c"),
        ("Div", "c,six", "y"),
    ],
    "Kind=Tanh": [("Neg", "x", "n"), ("Tanh", "n", "t"), ("Sub", "zero,t", "y")],
    "Kind=ReLU Param=0#1": [("Max", "x,zero", "y")],
    "Kind=ReLU Param=0.5": [("Mul", "x,half", "s"), ("Max", "x,s", "y")],
    "Kind=ReLU Param=3": [("PRelu", "x,three", "y")],
    "Kind=Clip Min=0 Max=6#1": [("Relu", "x", "r"), ("Min", "r,six", "y")],
    "Kind=Clip Min=0 Max=6#2": [("Clip", "x,zero,six", "y")],
    "Kind=Clip Min=0.5 Max=340282346638528860000000000000000000000": [("Max", "half,x", "y")],
}
CONSTANTS = {
    "one": 1.0,
    "two": 2.0,
    "root2": 2**0.5,
    "c": 0.044715,
    "k": (2 / np.pi) ** 0.5,
    "three": 3.0,
    "zero": 0.0,
    "six": 6.0,
    "sixth": SIXTH,
    "half": 0.5,
}


@pytest.mark.parametrize("expected", SPELLINGS)
def test_functions_of_an_input_are_recognized(expected: str, imported: Import) -> None:
    """Whose axes are known only when its first reader was read."""
    constants = {name: np.float32(value) for name, value in CONSTANTS.items()}
    assert kinds(imported(*SPELLINGS[expected], constants=constants)) == "Activation"


@pytest.mark.parametrize("expected", SPELLINGS)
def test_functions_of_many_nodes_are_recognized(expected: str, imported: Import) -> None:
    nodes = [("Conv", "in,w", "x"), *SPELLINGS[expected]]
    constants = {name: np.float32(value) for name, value in CONSTANTS.items()} | {"w": numbers(4, 4, 1, 1)}
    net = imported(*nodes, inputs={"in": (1, 4, 5, 6)}, constants=constants)
    assert kinds(net) == "Conv Activation"
    assert f"ToTensor=y {expected.partition('#')[0]}  #" in net.text


@pytest.mark.parametrize(
    "change", [("three", 3.001), ("six", 5.99), ("zero", 0.01), ("sixth", 0.1667)], ids=lambda change: change[0]
)
def test_almost_a_function_is_not_that_function(change: tuple[str, float], imported: Import) -> None:
    constants = {name: np.float32(value) for name, value in (CONSTANTS | dict([change])).items()}
    spelled = SPELLINGS["Kind=HardSwish#3"] if change[0] == "sixth" else SPELLINGS["Kind=HardSwish#2"]
    net = imported(*spelled, constants=constants)
    assert kinds(net).count("Mul") == 1
    assert "HardSwish" not in net.text


def test_a_function_behind_another(imported: Import) -> None:
    """The nearest tensor that makes sense is what the function is of."""
    constants = {name: np.float32(value) for name, value in CONSTANTS.items()}
    net = imported(
        ("Relu", "in", "x"), *SPELLINGS["Kind=HardSwish#2"], inputs={"in": (1, 4, 5, 6)}, constants=constants
    )
    assert [layer.describe() for layer in net.graph.layers] == ["ReLU x", "HardSwish y"]


def test_what_changes_nothing_is_no_layer(imported: Import) -> None:
    net = imported(
        ("Relu", "x", "r"),
        ("Cast", "r", "c", {"to": 1}),
        ("CastLike", "c,one", "l"),
        ("Dropout", "l", "d", {"ratio": 0.5}),
        ("CastLike", "integer,d", "unit"),
        ("Mul", "d,unit", "m"),
        ("Slice", "m,starts,ends", "s"),
        ("Expand", "s,shape", "y"),
        constants={
            "one": np.float32(1),
            "integer": np.int64(1),
            "starts": np.array([0]),
            "ends": np.array([2**63 - 1]),
            "shape": np.array([1, 1, 5, 1]),
        },
    )
    assert kinds(net) == "Activation"


def test_an_output_that_is_an_input(imported: Import) -> None:
    """The language wants a layer between them."""
    x = numbers(1, 4, 5, 6)
    np.testing.assert_array_equal(run(imported(("Identity", "x", "y")), x=x)["y"], x)


def test_every_operator_of_functions_can_be_sampled() -> None:
    binary = {"Add", "Div", "Mul", "PRelu", "Pow", "Sub"}
    for operator, function in FUNCTIONS.items():
        arguments = [SAMPLES, np.float64(2)] if operator in binary else [SAMPLES]
        with np.errstate(all="ignore"):
            assert np.shape(function({}, *arguments)) == SAMPLES.shape, operator
