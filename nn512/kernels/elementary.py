"""Elementary functions of 16 floats at once, as routines of the emitted file, each with a bound of its error.

No routine branches, and none depends on the rounding of an instruction that processors round differently: results have
the same bits everywhere. Errors are in units of the last place of the result (of a subnormal one: 2^-149), the largest
over all floats, as `python -m fuzz.floats` finds it; `ulps` is that, rounded up.

Where coefficients come from: weighted least squares in float64 at Chebyshev nodes, the weights raised where the error
is large until it is level (Lawson's iteration, for the relative error of the result); each coefficient in turn, the
lowest power first, is rounded to float32 and the others are fitted anew. Those of quotients were then varied in their
last digits, and the ones kept whose float32 evaluation erred least.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from string import Template
from types import MappingProxyType
from typing import TypeAlias

from nn512.cgen.code import Routine
from nn512.cgen.literals import float_literal

Constant: TypeAlias = float | tuple[float, ...]
"""A number of a routine, or a table of 16."""


@dataclass(frozen=True, slots=True)
class Elementary:
    """One routine `name` from __m512 to __m512; `text` has the names of `constants` behind dollars.

    Its error is at most `ulps` units in the last place of the result, and `floor` more: results so small may be 0. It
    holds for arguments of magnitude `within` and less. `needs` are routines that it calls.
    """

    name: str
    text: str
    constants: Mapping[str, Constant]
    ulps: float
    floor: float = 0.0
    within: float = inf
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
/* exp(x) for |x| <= 104, within 1.08 ulp: a power of 2 in sixteenths, from a table and by scaling, times exp(r) for
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
    within=104.0,
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
/* x / (1 + exp(-x)), within 4.2 ulp; below 2^-116 in magnitude within 2^-142. NaN stays NaN. */
static INLINE __m512 silu_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* exp(-104) is 0 in float, and the result -0, not NaN for -inf */
    const __m512 power = exp_of(_mm512_min_ps(_mm512_set1_ps(32.0f), x));
    return _mm512_mul_ps(x, _mm512_div_ps(power, _mm512_add_ps(power, _mm512_set1_ps(1.0f))));
}
""",
    {},
    ulps=4.2,
    floor=2.0**-142,
    needs=(EXP,),
)

TANH = Elementary(
    "tanh_of",
    """
/* tanh(x), within 4.9 ulp: x * P(x^2) / Q(x^2). NaN stays NaN. */
static INLINE __m512 tanh_of(__m512 x) {
    const __m512 end = _mm512_set1_ps($end); /* beyond it is 1 */
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
        "end": 8.0,
        "p1": 0.1344679743051529,
        "p2": 0.0035742847248911858,
        "p3": 2.1937132260063663e-05,
        "p4": 1.528600712674688e-08,
        "q1": 0.4678012728691101,
        "q2": 0.02617477811872959,
        "q3": 0.000341561040841043,
        "q4": 8.545888476874097e-07,
    },
    ulps=4.9,
)

FUNCTIONS: Mapping[str, Elementary] = MappingProxyType(
    {function.name: function for function in (EXP, SIGMOID, SILU, TANH)}
)
"""By the name of the routine."""
