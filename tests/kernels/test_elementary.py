"""Elementary functions keep their bounds over a dense sample of floats, and no coefficient can be another."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from fuzz import floats
from fuzz.floats import FLOATS, measure
from nn512.graph.kinds.activation import FUNCTIONS as ACTIVATION_FUNCTIONS
from nn512.kernels.elementary import FUNCTIONS, Constant, Elementary

SAMPLE = 4093
"""A prime: every so many floats of all magnitudes, a million."""


def bits(x: float) -> int:
    return int(struct.unpack("I", struct.pack("f", x))[0])


WORST = (7.776220798492432, -3.4389913082122803, -6.821803569793701, 5.947352409362793, -0.4698033630847931, 1.0633373260498047)
"""Where the largest errors are, of all floats."""

EDGES = (
    *WORST,
    *(0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, -1.1754942e-38, 1.1754944e-38, 3.4028235e38, -3.4028235e38),
    *(float("inf"), float("-inf"), float("nan"), 1.0, -1.0, 0.5, 8.0, -8.0, 32.0, 88.72284, -87.33655, 104.0, -104.0),
)
"""Around each of them, some floats on both sides."""


def around() -> list[tuple[int, int]]:
    return [(max(bits(x) - 40, 0), min(bits(x) + 40, FLOATS)) for x in EDGES]


def dense() -> list[tuple[int, int]]:
    """Where functions bend: 2^-6 to 128, of both signs."""
    return [(bits(sign * 2.0**-6), bits(sign * 128.0)) for sign in (1.0, -1.0)]


def sampled(function: Elementary, constants: dict[str, Constant] | None = None) -> float:
    far = measure(function, SAMPLE, constants)
    near = measure(function, 211, constants, dense())
    edges = measure(function, 1, constants, around())
    return max(far.ulps, near.ulps, edges.ulps)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds(name: str) -> None:
    """They hold, and are not loose."""
    function = FUNCTIONS[name]
    found = sampled(function)
    assert found <= function.ulps
    assert found > function.ulps * 0.8
    assert f"within {function.ulps:g} ulp" in function.text


KINDS = {
    "exp_of": "Exp",
    "sigmoid_of": "Sigmoid",
    "silu_of": "SiLU",
    "tanh_of": "Tanh",
    "gelu_of": "GELU",
    "gelu_tanh_of": "GELUTanh",
    "expm1_of": "ELU",
    "softplus_of": "Softplus",
    "mish_of": "Mish",
    "log_of": "Log",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_manual_tells_the_bound(name: str) -> None:
    assert f"within {FUNCTIONS[name].ulps:g} ulp" in ACTIVATION_FUNCTIONS[KINDS[name]].meaning


def changed(function: Elementary, name: str, place: int | None, steps: int) -> dict[str, Constant]:
    """The constant so many units in its last place further, in a table the one at a place."""
    given = function.constants[name]
    before = given[place] if isinstance(given, tuple) and place is not None else given
    assert isinstance(before, float)
    single = np.float32(before)
    after = float(single + steps * np.spacing(np.abs(single)))
    if isinstance(given, tuple):
        return {name: tuple(after if i == place else value for i, value in enumerate(given))}
    return {name: after}


NOTICED: list[tuple[str, str, int | None, int]] = [
    *(("exp_of", "powers", place, 0) for place in (1, 8, 15)),
    *(("exp_of", "ln2", None, 0), ("exp_of", "c2", None, 10), ("exp_of", "c3", None, 16)),
    *(("exp_of", "perE", None, 13), ("exp_of", "ln2Rest", None, 19)),
    *(("tanh_of", f"p{power}", None, exponent) for power, exponent in enumerate((1, 1, 3, 7), 1)),
    *(("tanh_of", f"q{power}", None, exponent) for power, exponent in enumerate((3, 1, 3, 6), 1)),
]
"""Constants, and the power of two of units in their last place by which they can be wrong before a bound is broken.

What stands with a high power of r weighs so little that its last digits do not matter; 1/ln(2) only chooses intervals.
"""


@pytest.mark.parametrize(("name", "constant", "place", "exponent"), NOTICED)
def test_another_coefficient_breaks_the_bound(name: str, constant: str, place: int | None, exponent: int) -> None:
    """In whichever direction it is wrong."""
    function = FUNCTIONS[name]
    for sign in (1, -1):
        constants = changed(function, constant, place, sign * 2**exponent)
        found = max(measure(function, 211, constants, dense()).ulps, measure(function, 1, constants, around()).ulps)
        assert found > function.ulps


def test_all_meanings_are_listed() -> None:
    assert set(floats.MEANINGS) == set(FUNCTIONS)


def test_the_command_says_what_it_found() -> None:
    stream = io.StringIO()
    assert floats.main(["tanh_of", "--stride", "100003", "--threads", "1"], stream) == 0
    assert stream.getvalue().startswith("tanh_of")
    assert "EXCEEDED" not in stream.getvalue()
