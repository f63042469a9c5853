"""Elementary functions keep their bounds over a dense sample of floats, and no coefficient can be another."""

from __future__ import annotations

import io
import struct

import pytest

from fuzz import floats
from fuzz.floats import FLOATS, measure
from nn512.kernels.elementary import FUNCTIONS, Constant, Elementary

SAMPLE = 4093
"""A prime: every so many floats of all magnitudes, a million."""


def bits(x: float) -> int:
    return int(struct.unpack("I", struct.pack("f", x))[0])


WORST = (7.776220798492432, -3.4389913082122803, -6.821803569793701, 5.947352409362793, -0.4698033630847931)
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


def test_all_meanings_are_listed() -> None:
    assert set(floats.MEANINGS) == set(FUNCTIONS)


def test_the_command_says_what_it_found() -> None:
    stream = io.StringIO()
    assert floats.main(["tanh_of", "--stride", "100003", "--threads", "1"], stream) == 0
    assert stream.getvalue().startswith("tanh_of")
    assert "EXCEEDED" not in stream.getvalue()
