"""The functions of Activation against their formulas: values, limits, slopes, and where nothing is promised."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from nn512.graph import Activation, parse
from nn512.graph.nodes import ACTIVATIONS
from reference import functions, kinds
from reference.functions import function_of

SPECIALS = (math.nan, math.inf, -math.inf, 0.0, -0.0)


@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        (0.0, [math.nan, math.inf, 0.0, 2.0, 0.0, 0.0]),
        (-0.0, [math.nan, math.inf, 0.0, 2.0, 0.0, 0.0]),
        (0.1, [math.nan, math.inf, -math.inf, 2.0, -2.0 * float(np.float32(0.1)), 0.0]),
        (-1.0, [math.nan, math.inf, math.inf, 2.0, 2.0, 0.0]),
        (1.0, [math.nan, math.inf, -math.inf, 2.0, -2.0, 0.0]),
        (2.0, [math.nan, math.inf, -math.inf, 2.0, -4.0, 0.0]),
    ],
)
def test_relu(slope: float, expected: list[float]) -> None:
    x = np.array([math.nan, math.inf, -math.inf, 2.0, -2.0, -0.0]).reshape(6, 1, 1)
    y = kinds.activation.value(x, Activation("x", "y", "ReLU", slope))
    np.testing.assert_array_equal(y.ravel(), expected)


@pytest.mark.parametrize(
    ("least", "greatest", "expected"),
    [
        (0.0, 6.0, [math.nan, 6.0, 0.0, 2.0, 0.0, 0.0]),
        (-0.5, 0.1, [math.nan, float(np.float32(0.1)), -0.5, float(np.float32(0.1)), -0.5, 0.0]),
        (-4.0, -3.0, [math.nan, -3.0, -4.0, -3.0, -3.0, -3.0]),
        (1.0, 1.0 + 1e-12, [math.nan, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_clip(least: float, greatest: float, expected: list[float]) -> None:
    x = np.array([math.nan, math.inf, -math.inf, 2.0, -2.0, -0.0]).reshape(6, 1, 1)
    y = kinds.activation.value(x, Activation("x", "y", "Clip", min=least, max=greatest))
    np.testing.assert_array_equal(y.ravel(), expected)


def test_hard_swish() -> None:
    x = np.array([math.nan, math.inf, -math.inf, 3e38, -3e38, -3, -2, -1.5, -1, 0, 1, 2, 3, 4.5]).reshape(-1, 1, 1)
    y = kinds.activation.value(x, Activation("x", "y", "HardSwish"))
    expected = [math.nan, math.inf, 0, 3e38, 0, 0, -1 / 3, -0.375, -1 / 3, 0, 2 / 3, 5 / 3, 3, 4.5]
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-15)


SMOOTH: dict[str, tuple[list[float], Callable[[float], float]]] = {
    "Sigmoid": ([math.nan, 1, 0, 0.5, 0.5], lambda x: 1 / (1 + math.exp(-x))),
    "SiLU": ([math.nan, math.inf, 0, 0, 0], lambda x: x / (1 + math.exp(-x))),
    "Tanh": ([math.nan, 1, -1, 0, 0], lambda x: (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1)),
    "GELU": ([math.nan, math.inf, 0, 0, 0], lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    "GELUTanh": (
        [math.nan, math.inf, 0, 0, 0],
        lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    "ELU": ([math.nan, math.inf, -1, 0, 0], lambda x: x if x > 0 else math.exp(x) - 1),
    "Softplus": ([math.nan, math.inf, 0, math.log(2), math.log(2)], lambda x: math.log(1 + math.exp(x))),
    "Mish": ([math.nan, math.inf, 0, 0, 0], lambda x: x * math.tanh(math.log(1 + math.exp(x)))),
}


@pytest.mark.parametrize("kind", SMOOTH)
def test_smooth_functions(kind: str) -> None:
    """Limits at the infinities, and the formula elsewhere; nothing overflows on the way."""
    node = STEEP[kind]
    specials, formula = SMOOTH[kind]
    with np.errstate(all="raise", under="ignore"):
        y = kinds.activation.value(np.array(SPECIALS), node)
        far = kinds.activation.value(np.array([-3e38, -1e3, 1e3, 3e38]), node)
    np.testing.assert_array_equal(y, specials)
    assert np.isfinite(far).all()
    x = np.linspace(-20, 20, 401)
    expected = np.array([formula(float(v)) for v in x])
    np.testing.assert_allclose(kinds.activation.value(x, node), expected, rtol=1e-12, atol=1e-14)


def test_functions_of_one_operation() -> None:
    x = np.array([*SPECIALS, 4.0, -0.5])
    with np.errstate(all="ignore"):
        y = {kind: kinds.activation.value(x, Activation("x", "y", kind)) for kind in PLAIN}
    nan, inf = math.nan, math.inf
    np.testing.assert_array_equal(y["Abs"], [nan, inf, inf, 0, 0, 4, 0.5])
    np.testing.assert_array_equal(y["Neg"], [nan, -inf, inf, 0, 0, -4, 0.5])
    np.testing.assert_array_equal(y["Square"], [nan, inf, inf, 0, 0, 16, 0.25])
    np.testing.assert_array_equal(y["Sqrt"], [nan, inf, nan, 0, 0, 2, nan])
    np.testing.assert_array_equal(y["Log"], [nan, inf, nan, -inf, -inf, math.log(4), nan])
    np.testing.assert_array_equal(y["Reciprocal"], [nan, 0, 0, inf, -inf, 0.25, -2])
    np.testing.assert_array_equal(y["Exp"][:-2], [nan, inf, 0, 1, 1])
    np.testing.assert_allclose(y["Exp"][-2:], [math.e**4, math.e**-0.5], rtol=1e-14)


def test_nothing_is_promised_beside_a_pole() -> None:
    """An error of what a Reciprocal reads may change the sign of the result; exact zeros have infinities."""
    x = np.array([0.0, 1e-9, 1.0])
    poles = {kind: [True, True, False] for kind in ("Reciprocal", "Sqrt", "Log")}
    for kind, near in (*poles.items(), ("Abs", [False] * 3)):
        node = Activation("x", "y", kind)
        unsure = function_of(node).unsure
        np.testing.assert_array_equal(unsure(x, np.full(3, 1e-8), node), near)
        assert not unsure(x, np.zeros(3), node).any()


def test_hard_sigmoid() -> None:
    x = np.array([*SPECIALS, 2.0, -4.0, 1.0])
    y = kinds.activation.value(x, Activation("x", "y", "HardSigmoid", alpha=0.25, beta=0.25))
    np.testing.assert_array_equal(y, [math.nan, 1, 0, 0.25, 0.25, 0.75, 0, 0.5])
    third = Activation("x", "y", "HardSigmoid", alpha=1 / 3, beta=0.1)
    expected = float(np.float32(1 / 3)) + float(np.float32(0.1))
    np.testing.assert_array_equal(kinds.activation.value(np.array([1.0]), third), [expected])


PLAIN = ("Abs", "Exp", "Log", "Neg", "Reciprocal", "Sqrt", "Square")

STEEP = {
    "ReLU": Activation("x", "y", "ReLU", -0.5),
    "Clip": Activation("x", "y", "Clip", min=-1, max=2),
    "HardSwish": Activation("x", "y", "HardSwish"),
    "PReLU": Activation("x", "y", "PReLU"),
    "HardSigmoid": Activation("x", "y", "HardSigmoid", alpha=0.3, beta=0.5),
} | {kind: Activation("x", "y", kind, *([1.0] if kind == "ELU" else [])) for kind in (*SMOOTH, *PLAIN)}


@given(st.sampled_from(sorted(STEEP)), st.floats(-9, 9), st.floats(0, 4))
def test_no_error_is_multiplied_by_more_than_the_slope(kind: str, x: float, reach: float) -> None:
    """The steepest secant among a hundred within reach is no steeper than `slope` says, and nearly as steep."""
    node = STEEP[kind]
    if kind in ("Log", "Reciprocal", "Sqrt"):  # away from the pole, and from what has no root
        x = abs(x) + reach + 0.5
    at = np.linspace(x - reach, x + reach, 101)
    y = kinds.activation.value(at, node)
    slope = functions.function_of(node).slope(np.array(x), np.array(reach), node)
    steps = np.diff(at)
    if reach > 1e-3:
        steepest = np.abs(np.diff(y) / steps).max()
        assert steepest <= slope * (1 + 1e-9) + 1e-9
        assert slope <= steepest * 1.1 + 0.05 or kind in (
            "ReLU",
            "PReLU",
            "Clip",
            "HardSigmoid",
            "Abs",
            "Log",
            "Reciprocal",
            "Sqrt",
        )


def test_slopes_of_channels() -> None:
    """Nothing is promised of a channel whose slope is not finite; a slope of 0 is a product, too."""
    graph = parse(
        "Config Input ToTensor=x Channels=4 Height=1 Width=4 Activation FromTensor=x ToTensor=y Kind=PReLU "
        "Output FromTensor=y"
    )
    x = np.array([[-1, 2, math.nan, -math.inf]], np.float32) * np.ones((4, 1, 1), np.float32)
    result = reference.run(graph, {"ySlopes": np.array([0.5, -3, 0, math.nan], np.float32)}, {"x": x})["y"]
    wanted = [[-0.5, 2, math.nan, -math.inf], [3, 2, math.nan, math.inf], [0, 2, math.nan, math.nan]]
    np.testing.assert_array_equal(result.value[:3, 0], wanted)
    assert result.unspecified[:, 0].tolist() == [[False] * 4] * 3 + [[True] * 4]


def test_every_function_is_tried_here() -> None:
    assert sorted(STEEP) == sorted(ACTIVATIONS)


def test_every_function_has_one_entry() -> None:
    names = [function.kind for function in functions.FUNCTIONS]
    assert sorted(names) == sorted(ACTIVATIONS)
