"""Elementary functions of 16 floats at once, as routines of the emitted file, each with a bound of its error.

No routine branches, and none depends on the rounding of an instruction that processors round differently: results have
the same bits everywhere. Errors are in units of the last place of the result (of a subnormal one: 2^-149), the largest
over all floats, as `python -m fuzz.floats` finds it; `ulps` is that, rounded up. It found: exp_of 1.0718, sigmoid_of
3.1617, silu_of 3.9469, tanh_of 4.9437, gelu_of 1.3353, gelu_tanh_of 3.3163, expm1_of 0.9502, softplus_of 3.1075,
mish_of 4.6829, log_of 1.0420; in 6 to 20 seconds each, of one core with AVX-512 (Sapphire Rapids).

Where coefficients come from: weighted least squares in float64 at Chebyshev nodes, the weights raised where the error
is large until it is level (Lawson's iteration, for the relative error of the result); each coefficient in turn, the
lowest power first, is rounded to float32 and the others are fitted anew. Those of quotients were then varied in their
last digits, and the ones kept whose float32 evaluation erred least.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import erfc, inf, log, pi, sqrt
from string import Template
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from nn512.cgen.code import Routine
from nn512.cgen.literals import float_literal

Constant: TypeAlias = float | tuple[float, ...]
"""A number of a routine, or a table of 16."""


@dataclass(frozen=True, slots=True)
class Elementary:
    """One routine `name` from __m512 to __m512; `text` has the names of `constants` behind dollars.

    Its error is at most `ulps` units in the last place of the result, or of `beside` times the argument where that is
    larger, and `floor` more: results so small may be 0. It holds for arguments from `least` to `most`. `needs` are
    routines that it calls.
    """

    name: str
    text: str
    constants: Mapping[str, Constant]
    ulps: float
    floor: float = 0.0
    beside: float = 0.0
    least: float = -inf
    most: float = inf
    needs: tuple[Elementary, ...] = field(default=())

    @property
    def routine(self) -> Routine:
        """What is emitted."""
        return Routine(self.name, self.write(self.constants), tuple(needed.routine for needed in self.needs))

    def write(self, constants: Mapping[str, Constant]) -> str:
        """The text with these constants."""
        return Template(self.text).substitute({name: _literal(value) for name, value in constants.items()})


def _literal(value: Constant) -> str:
    if isinstance(value, float):
        return float_literal(value)
    lines = textwrap.wrap(", ".join(map(float_literal, value)), 108)
    return "{\n" + "".join(f"        {line}\n" for line in lines) + "    }"


EXP = Elementary(
    "exp_of",
    """
/* exp(x) for |x| <= 105, within 1.08 ulp: a power of 2 in sixteenths, from a table and by scaling, times exp(r) for
 * |r| <= ln(2)/32. */
static INLINE __m512 exp_of(__m512 x) {
    static const float powers[16] = $powers; /* 2^(i/16) */
    const __m512 shift = _mm512_set1_ps(786432.0f); /* 1.5 * 2^19: sums with it are rounded to sixteenths */
    const __m512 sum = _mm512_fmadd_ps(x, _mm512_set1_ps($perE), shift);
    const __m512 n = _mm512_sub_ps(sum, shift);
    const __m512 power = _mm512_permutexvar_ps(_mm512_castps_si512(sum), _mm512_loadu_ps(powers));
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps($ln2), x); /* ln(2) in two parts */
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps($ln2Rest), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps($c3), r, _mm512_set1_ps($c2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(_mm512_fmadd_ps(_mm512_mul_ps(power, r), p, power), n);
}
""",
    {
        "powers": tuple(2.0 ** (i / 16) for i in range(16)),
        "perE": 1.44269504,
        "ln2": 0.693147182,
        "ln2Rest": -1.90465421e-09,
        "c2": 0.5,
        "c3": 0.16666667,
    },
    ulps=1.08,
    least=-105.0,
    most=105.0,
)

SIGMOID = Elementary(
    "sigmoid_of",
    """
/* 1 / (1 + exp(-x)), within 3.17 ulp. NaN stays NaN. */
static INLINE __m512 sigmoid_of(__m512 x) {
    const __m512 least = _mm512_set1_ps(-104.0f), most = _mm512_set1_ps(32.0f); /* beyond it is 0 and 1 */
    const __m512 power = exp_of(_mm512_min_ps(most, _mm512_max_ps(least, x)));
    return _mm512_div_ps(power, _mm512_add_ps(power, _mm512_set1_ps(1.0f)));
}
""",
    {},
    ulps=3.17,
    needs=(EXP,),
)

SILU = Elementary(
    "silu_of",
    """
/* x / (1 + exp(-x)), within 3.95 ulp; below 2^-116 in magnitude within 2^-142. NaN stays NaN. */
static INLINE __m512 silu_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* exp(-104) is 0 in float, and the result -0, not NaN for -inf */
    const __m512 power = exp_of(_mm512_min_ps(_mm512_set1_ps(32.0f), x));
    return _mm512_mul_ps(x, _mm512_div_ps(power, _mm512_add_ps(power, _mm512_set1_ps(1.0f))));
}
""",
    {},
    ulps=3.95,
    floor=2.0**-142,
    needs=(EXP,),
)

TANH = Elementary(
    "tanh_of",
    """
/* tanh(x), within 4.95 ulp: x * P(x^2) / Q(x^2). NaN stays NaN. */
static INLINE __m512 tanh_of(__m512 x) {
    const __m512 end = _mm512_set1_ps($end); /* there it is 1, and so it is beyond */
    x = _mm512_min_ps(end, _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), end), x));
    const __m512 square = _mm512_mul_ps(x, x);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps($p4), square, _mm512_set1_ps($p3));
    __m512 q = _mm512_fmadd_ps(_mm512_set1_ps($q4), square, _mm512_set1_ps($q3));
    p = _mm512_fmadd_ps(p, square, _mm512_set1_ps($p2));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps($q2));
    p = _mm512_fmadd_ps(p, square, _mm512_set1_ps($p1));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps($q1));
    p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(1.0f));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(1.0f));
    return _mm512_div_ps(_mm512_mul_ps(x, p), q);
}
""",
    {
        "end": 8.0405426,
        "p1": 0.1344679743051529,
        "p2": 0.0035742847248911858,
        "p3": 2.1937132260063663e-05,
        "p4": 1.528600712674688e-08,
        "q1": 0.4678012728691101,
        "q2": 0.02617477811872959,
        "q3": 0.000341561040841043,
        "q4": 8.545888476874097e-07,
    },
    ulps=4.95,
)


def _tails() -> dict[str, Constant]:
    """Coefficients of the normal distribution below -t, for t = i * STEP + r, r^0 to r^4: one of 32 for each i.

    Each polynomial meets it at five Chebyshev nodes of its interval. The last is 0 throughout: what is left there times
    t is less than 2^-23.
    """
    nodes = np.cos(np.pi * (np.arange(5) + 0.5) / 5) * STEP / 2
    rows = []
    for i in range(31):
        r = nodes if i else (nodes + STEP / 2) / 2  # there is nothing below 0
        values = [erfc((i * STEP + float(each)) / sqrt(2)) / 2 for each in r]
        rows.append(np.polynomial.polynomial.polyfit(r, values, 4))
    columns = np.array([*rows, np.zeros(5)]).T
    return {f"t{power}": tuple(map(float, column)) for power, column in enumerate(columns)}


STEP = 23 / 128
"""Width of the intervals; its multiples have few bits."""

GELU = Elementary(
    "gelu_of",
    """
/* x times the normal distribution below x, within 1.34 ulp of the larger of that and x / 2: max(x, 0) less |x| times
 * the distribution below -|x|, which is a polynomial in each of 32 intervals. NaN stays NaN. */
static INLINE __m512 gelu_of(__m512 x) {
    static const float t0[32] = $t0;
    static const float t1[32] = $t1;
    static const float t2[32] = $t2;
    static const float t3[32] = $t3;
    static const float t4[32] = $t4;
    const __m512 size = _mm512_min_ps(_mm512_set1_ps($end), _mm512_abs_ps(x)); /* beyond it nothing is left */
    const __m512 shift = _mm512_set1_ps(12582912.0f); /* 1.5 * 2^23: sums with it are rounded to integers */
    const __m512 sum = _mm512_fmadd_ps(size, _mm512_set1_ps($perStep), shift);
    const __m512i i = _mm512_castps_si512(sum);
    const __m512 r = _mm512_fnmadd_ps(_mm512_sub_ps(sum, shift), _mm512_set1_ps($step), size);
    __m512 tail = _mm512_permutex2var_ps(_mm512_loadu_ps(t4), i, _mm512_loadu_ps(t4 + 16));
    tail = _mm512_fmadd_ps(tail, r, _mm512_permutex2var_ps(_mm512_loadu_ps(t3), i, _mm512_loadu_ps(t3 + 16)));
    tail = _mm512_fmadd_ps(tail, r, _mm512_permutex2var_ps(_mm512_loadu_ps(t2), i, _mm512_loadu_ps(t2 + 16)));
    tail = _mm512_fmadd_ps(tail, r, _mm512_permutex2var_ps(_mm512_loadu_ps(t1), i, _mm512_loadu_ps(t1 + 16)));
    tail = _mm512_fmadd_ps(tail, r, _mm512_permutex2var_ps(_mm512_loadu_ps(t0), i, _mm512_loadu_ps(t0 + 16)));
    return _mm512_fnmadd_ps(size, tail, _mm512_max_ps(_mm512_setzero_ps(), x));
}
""",
    {**_tails(), "end": 31 * STEP, "perStep": 1 / STEP, "step": STEP},
    ulps=1.34,
    beside=0.5,
)

GELU_TANH = Elementary(
    "gelu_tanh_of",
    """
/* x / 2 * (1 + tanh(y)) = x / (1 + exp(-2 y)) for y = sqrt(2/pi) * (x + 0.044715 * x^3), within 3.32 ulp of the larger
 * of that and x / 2. NaN stays NaN. */
static INLINE __m512 gelu_tanh_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-10.7f), x); /* the exponential is 0 there, and the result -0 */
    const __m512 factor = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps($cubic), _mm512_set1_ps($linear));
    const __m512 power = exp_of(_mm512_min_ps(_mm512_set1_ps(32.0f), _mm512_mul_ps(x, factor)));
    return _mm512_mul_ps(x, _mm512_div_ps(power, _mm512_add_ps(power, _mm512_set1_ps(1.0f))));
}
""",
    {"linear": 2 * sqrt(2 / pi), "cubic": 2 * sqrt(2 / pi) * 0.044715},
    ulps=3.32,
    beside=0.5,
    needs=(EXP,),
)

EXPM1 = Elementary(
    "expm1_of",
    """
/* exp(x) - 1 for x < 0, within 0.96 ulp: 2^n * (exp(r) - 1) + (2^n - 1) for |r| <= ln(2)/2. NaN stays NaN. */
static INLINE __m512 expm1_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-20.0f), x); /* it is -1 there */
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps($perE)), _MM_FROUND_TO_NEAREST_INT);
    const __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps($ln2), x);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps($c6), r, _mm512_set1_ps($c5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps($c4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps($c3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps($c2));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    const __m512 scale = _mm512_scalef_ps(_mm512_set1_ps(1.0f), n);
    return _mm512_fmadd_ps(scale, p, _mm512_sub_ps(scale, _mm512_set1_ps(1.0f)));
}
""",
    {
        "perE": 1.44269504,
        "ln2": 0.693147182,
        "c2": 0.49999997,
        "c3": 0.166665435,
        "c4": 0.0416674428,
        "c5": 0.00836663414,
        "c6": 0.00138704095,
    },
    ulps=0.96,
    most=-(2.0**-149),
)

SOFTPLUS = Elementary(
    "softplus_of",
    """
/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), within 3.12 ulp; the second over its exponential is a polynomial.
 * NaN stays NaN. */
static INLINE __m512 softplus_of(__m512 x) {
    const __m512 below = _mm512_min_ps(_mm512_sub_ps(_mm512_setzero_ps(), x), x);
    const __m512 power = exp_of(_mm512_max_ps(_mm512_set1_ps(-104.0f), below));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps($c8), power, _mm512_set1_ps($c7));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps($c6));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps($c5));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps($c4));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps($c3));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps($c2));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps($c1));
    p = _mm512_fmadd_ps(p, power, _mm512_set1_ps(1.0f));
    return _mm512_fmadd_ps(power, p, _mm512_max_ps(_mm512_setzero_ps(), x));
}
""",
    {
        "c1": -0.499996483,
        "c2": 0.3332133,
        "c3": -0.248572171,
        "c4": 0.191538483,
        "c5": -0.137541875,
        "c6": 0.0792088285,
        "c7": -0.0300683007,
        "c8": 0.00536542246,
    },
    ulps=3.12,
    needs=(EXP,),
)

MISH = Elementary(
    "mish_of",
    """
/* x * tanh(log(1 + exp(x))) = x * w / (w + 2) for w = exp(x)^2 + 2 * exp(x), within 4.69 ulp; below 2^-116 in magnitude
 * within 2^-142. NaN stays NaN. */
static INLINE __m512 mish_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* exp(-104) is 0 in float, and the result -0, not NaN for -inf */
    const __m512 power = exp_of(_mm512_min_ps(_mm512_set1_ps(16.0f), x));
    const __m512 w = _mm512_fmadd_ps(power, power, _mm512_add_ps(power, power)); /* the sum is exact */
    return _mm512_mul_ps(x, _mm512_div_ps(w, _mm512_add_ps(w, _mm512_set1_ps(2.0f))));
}
""",
    {},
    ulps=4.69,
    floor=2.0**-142,
    needs=(EXP,),
)

_PARTS = (
    *(1.0, 0.914179265, 0.864982545, 0.820661068, 0.780449152, 0.744031608, 0.711086273, 0.681020498),
    *(1.3061446, 1.25516284, 1.20758951, 1.1636262, 1.12307632, 1.08439147, 1.04952693, 1.0),
)
"""About 1 over the middle of each sixteenth of [1, 3/2) and of [3/4, 1), such that its logarithm is nearly a float.

Beside 1 they are 1, so that the logarithm loses no digits there.
"""

LOG = Elementary(
    "log_of",
    """
/* The natural logarithm, within 1.05 ulp: x = 2^n * m for m from 3/4 to 3/2, and log(m) = log(m * part) - log(part) for
 * a part that makes the product nearly 1. -inf for 0, NaN below it. NaN stays NaN. */
static INLINE __m512 log_of(__m512 x) {
    static const float parts[16] = $parts; /* by the first four bits of the fraction of m */
    static const float logs[16] = $logs; /* -log(part) */
    const __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
    const __m512 n = _mm512_sub_ps(_mm512_getexp_ps(x), _mm512_getexp_ps(m));
    const __m512i i = _mm512_srli_epi32(_mm512_castps_si512(m), 19);
    const __m512 part = _mm512_permutexvar_ps(i, _mm512_loadu_ps(parts));
    const __m512 r = _mm512_fmsub_ps(m, part, _mm512_set1_ps(1.0f));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps($c5), r, _mm512_set1_ps($c4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps($c3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps($c2));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    p = _mm512_add_ps(p, _mm512_permutexvar_ps(i, _mm512_loadu_ps(logs)));
    return _mm512_fmadd_ps(n, _mm512_set1_ps($ln2), p);
}
""",
    {
        "parts": _PARTS,
        "logs": tuple(0.0 - log(np.float32(part)) for part in _PARTS),
        "ln2": 0.693147182,
        "c2": -0.499999821,
        "c3": 0.333344817,
        "c4": -0.250368387,
        "c5": 0.192636028,
    },
    ulps=1.05,
)

FUNCTIONS: Mapping[str, Elementary] = MappingProxyType(
    {function.name: function for function in (EXP, SIGMOID, SILU, TANH, GELU, GELU_TANH, EXPM1, SOFTPLUS, MISH, LOG)}
)
"""By the name of the routine."""
