"""Elementary functions keep their bounds over a dense sample of floats, and no coefficient can be another."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from fuzz import floats
from fuzz.floats import FLOATS, MEASURED, measure
from nn512 import toolchain
from nn512.graph.kinds.activation import FUNCTIONS as ACTIVATION_FUNCTIONS
from nn512.kernels.elementary import FUNCTIONS, Constant, Elementary
from nn512.kernels.powers import POWER

SAMPLE = 4093
"""A prime: every so many floats of all magnitudes, a million."""


def bits(x: float) -> int:
    return int(struct.unpack("I", struct.pack("f", x))[0])


WORST = (
    *(7.776220798492432, -3.4389913082122803, -6.821803569793701, 5.947352409362793, -0.4698033630847931),
    *(0.015306335873901844, -0.38461682200431824, -2.0177111625671387, 1.0633373260498047, -6.787433624267578),
    *(9.95961850937584e-31, 9.873137860183585e-31, 2.023859344319212e-30),
)
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


@pytest.mark.parametrize("name", MEASURED)
def test_bounds(name: str) -> None:
    """They hold, and are not loose."""
    function = MEASURED[name]
    found = sampled(function)
    assert found <= function.ulps
    assert found > function.ulps * 0.98
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


SEEN: dict[str, dict[str, int | dict[int, int]]] = {
    "exp_of": {"powers": {1: 0, 8: 0, 15: 0}, "perE": 10, "ln2": 0, "ln2Rest": 18, "c2": 10, "c3": 16},
    "tanh_of": {"end": 19, "p1": 1, "p2": 2, "p3": 3, "p4": 8, "q1": 2, "q2": 1, "q3": 2, "q4": 5},
    "gelu_of": {
        "t0": {1: 0, 12: 7, 24: 17},
        "t1": {1: 3, 12: 8, 24: 18},
        "t2": {1: 10, 12: 12, 24: 21},
        "t3": {1: 13, 12: 16},
        "t4": {1: 19, 12: 22},
        "end": 18,
        "perStep": 18,
        "step": 0,
    },
    "gelu_tanh_of": {"linear": 3, "cubic": 7},
    "expm1_of": {"perE": 19, "ln2": 0, "c2": 2, "c3": 4, "c4": 7, "c5": 11, "c6": 16},
    "softplus_of": {"c1": 2, "c2": 2, "c3": 4, "c4": 4, "c5": 4, "c6": 5, "c7": 7, "c8": 9},
    "log_of": {
        "parts": {1: 0, 8: 0, 14: 0},
        "logs": {1: 0, 8: 0, 14: 0},
        "ln2": 0,
        "c2": 5,
        "c3": 9,
        "c4": 13,
        "c5": 18,
    },
    "inverse_power_1_4": {"c0": 2, "c1": 3, "c2": 7, "c3": 10, "c4": 14, "c5": 17},
    "inverse_power_2_4": {"c0": 1, "c1": 2, "c2": 6, "c3": 10, "c4": 13, "c5": 16},
    "inverse_power_3_4": {"c0": 1, "c1": 2, "c2": 5, "c3": 8, "c4": 12, "c5": 16},
}
"""Constants, and the power of two of units in their last place by which they can be wrong before a bound is broken.

Of tables by place. It is the least that the sample sees in both directions. What stands with a high power of r weighs
so little that its last digits do not matter, and the distribution far from 0 matters less and less; 1/ln(2) and the
like only choose intervals.
"""

NOTICED = [
    (name, constant, place, exponent)
    for name, constants in SEEN.items()
    for constant, seen in constants.items()
    for place, exponent in (seen.items() if isinstance(seen, dict) else [(None, seen)])
]


def test_every_constant_is_tried() -> None:
    tried = {(name, constant) for name, constant, _, _ in NOTICED}
    assert tried == {(f.name, constant) for f in MEASURED.values() for constant in f.constants}


@pytest.mark.parametrize(("name", "constant", "place", "exponent"), NOTICED)
def test_another_coefficient_breaks_the_bound(name: str, constant: str, place: int | None, exponent: int) -> None:
    """In whichever direction it is wrong."""
    function = MEASURED[name]
    for sign in (1, -1):
        assert scanned(function, changed(function, constant, place, sign * 2**exponent)) > function.ulps


def scanned(function: Elementary, constants: dict[str, Constant]) -> float:
    """The largest error that a sample sees of the function with such constants."""
    return max(measure(function, 1009, constants, dense()).ulps, measure(function, 1, constants, around()).ulps)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_constants_in_variables_change_nothing(name: str) -> None:
    function = FUNCTIONS[name]
    assert scanned(function, {}) == max(
        measure(function, 1009, None, dense()).ulps, measure(function, 1, None, around()).ulps
    )


@pytest.mark.native
@pytest.mark.parametrize("name", MEASURED)
def test_soft_results_have_the_bits_of_native_ones(name: str) -> None:
    """At every 1009th float, of all magnitudes, NaNs and infinities among them."""
    if not toolchain.has_avx512(toolchain.find_compiler()):
        pytest.skip("this processor has no AVX-512F")
    function = MEASURED[name]
    x = np.arange(0, FLOATS, 1009, dtype=np.uint32).view(np.float32)
    x = x[~((x < function.least) | (x > function.most))]
    soft, native = (floats.results(function, x, soft=soft) for soft in (True, False))
    none = np.isnan(native)
    np.testing.assert_array_equal(np.isnan(soft), none)
    np.testing.assert_array_equal(soft[~none].view(np.uint32), native[~none].view(np.uint32))


LARGE = np.array([20.0, 33.25, 104.0, 1e3, 1e10, 2.0**64, 3e38, float("inf")], np.float32)

SATURATED: dict[str, tuple[float | None, float | None]] = {
    "sigmoid_of": (0.0, 1.0),
    "silu_of": (0.0, None),
    "tanh_of": (-1.0, 1.0),
    "gelu_of": (0.0, None),
    "gelu_tanh_of": (0.0, None),
    "expm1_of": (-1.0, None),
    "softplus_of": (0.0, None),
    "mish_of": (0.0, None),
}
"""What functions are far below and far above 0; None: x itself."""


@pytest.mark.parametrize("name", SATURATED)
def test_far_from_zero_the_limit_is_met_exactly(name: str) -> None:
    below, above = SATURATED[name]
    function = FUNCTIONS[name]
    far = LARGE[LARGE > 104]
    np.testing.assert_array_equal(floats.results(function, -far, soft=False), np.full_like(far, below))
    if function.most > 0:
        expected = LARGE if above is None else np.full_like(LARGE, above)
        np.testing.assert_array_equal(floats.results(function, LARGE, soft=False), expected)


@pytest.mark.parametrize(("name", "least"), [("sigmoid_of", 0.0), ("tanh_of", -1.0), ("expm1_of", -1.0)])
def test_no_result_is_beyond_the_limit(name: str, least: float) -> None:
    """Where results come near it, rounding errors might carry them across."""
    above = np.arange(bits(2.0**-20), bits(200.0), 509, dtype=np.uint32).view(np.float32)
    x = np.concatenate([above, -above])
    y = floats.results(FUNCTIONS[name], x[x < FUNCTIONS[name].most], soft=False)
    assert y.min() >= least
    assert y.max() <= 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_interpolated_meanings_give_the_errors_of_computed_ones(name: str) -> None:
    """Of rows of 4096 floats; a range that begins within a row is computed."""
    function = FUNCTIONS[name]
    for x in (0.3, 1.0, 3.7, 17.0, 80.0, 700.0, 1e-3, 1e-30, 1e-40, 0.0, 3e38, float("nan")):
        for sign in (1, -1):
            first = bits(sign * x) // 4096 * 4096
            whole = measure(function, 1, ranges=[(first, first + 4096)]).ulps
            halves = measure(function, 1, ranges=[(first, first + 1000), (first + 1000, first + 4096)]).ulps
            assert whole == pytest.approx(halves, rel=1e-3, abs=1e-3)


def test_all_meanings_are_listed() -> None:
    assert set(floats.MEANINGS) == {*MEASURED, floats.with_exponent().name}


def test_the_command_says_what_it_found() -> None:
    stream = io.StringIO()
    assert floats.main(["tanh_of", "--stride", "100003", "--threads", "1"], stream) == 0
    assert stream.getvalue().startswith("tanh_of")
    assert "EXCEEDED" not in stream.getvalue()


def test_a_power_errs_no_more_than_it_says() -> None:
    """That of LRN, which has an exponent besides: one of them stands for all."""
    function = floats.with_exponent()
    assert measure(function, 100003).ulps <= function.ulps
    broken = floats.with_exponent(POWER.replace("0.961796694f", "0.96189287f"))
    assert measure(broken, 100003).ulps > function.ulps
