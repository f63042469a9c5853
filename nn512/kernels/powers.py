"""Powers with a negative exponent of 16 floats at once, as routines of the emitted file.

They hold for 2^-100 <= x, give 0 for infinity and NaN for NaN. None of them divides or takes a root by the hardware,
which would keep one unit busy for longer than memory takes. Coefficients were found as those of
`nn512.kernels.elementary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.kernels.elementary import Constant, Elementary

LEAST = 2.0**-100

POWER = """
/* x^-beta for 2^-100 <= x and 0 < beta <= 8, within (2 + beta) * 2^-24; 0 for infinity, NaN for NaN. With x = 2^e * m
 * and m between the roots of 1/2 and 2, log2(m) is a series in (m - 1) / (m + 1), and 2^r one for |r| <= 1/2. The
 * product of beta and e is in two parts, so that large exponents cost no digits. */
static INLINE __m512 inverse_power(__m512 x, float beta) {
    static const float logarithm[] = {0.320598898f, 0.412198583f, 0.577078016f, 0.961796694f, 2.88539008f};
    static const float power[] = {1.52527338e-5f, 1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f,
                                  5.55041087e-2f, 0.240226507f, 0.693147181f, 1.0f};
    const __m512 b = _mm512_set1_ps(-beta), one = _mm512_set1_ps(1.0f);
    const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x3f800000 - 0x3f3504f3));
    const __m512 e = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(bits, 23), _mm512_set1_epi32(127)));
    const __m512 m = _mm512_scalef_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), e));
    const __m512 f = _mm512_div_ps(_mm512_sub_ps(m, one), _mm512_add_ps(m, one)), square = _mm512_mul_ps(f, f);
    __m512 y = _mm512_set1_ps(logarithm[0]);
    UNROLL for (int i = 1; i < 5; i++) y = _mm512_fmadd_ps(y, square, _mm512_set1_ps(logarithm[i]));
    const __m512 high = _mm512_mul_ps(b, e), low = _mm512_fmsub_ps(b, e, high);
    const __m512 steps = _mm512_roundscale_ps(high, 0);
    const __m512 rest = _mm512_add_ps(_mm512_sub_ps(high, steps), _mm512_fmadd_ps(b, _mm512_mul_ps(f, y), low));
    const __m512 more = _mm512_roundscale_ps(rest, 0), r = _mm512_sub_ps(rest, more);
    y = _mm512_set1_ps(power[0]);
    UNROLL for (int i = 1; i < 8; i++) y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(power[i]));
    const __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000));
    y = _mm512_scalef_ps(y, _mm512_add_ps(steps, more));
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, infinity, _CMP_NEQ_UQ), y);
}
"""

_QUARTERS = """
/* x^-%s for 2^-100 <= x, within %s ulp; 0 for infinity, NaN for NaN. A quarter of the exponent, negative, is a first
 * guess at x^-0.25, off by at most 7 %%; what is left of it is a polynomial in x * guess^4 less the middle of that. */
static INLINE __m512 %s(__m512 x) {
    const __m512 guess = _mm512_castsi512_ps(
        _mm512_sub_epi32(_mm512_set1_epi32(0x4f4ff000), _mm512_srli_epi32(_mm512_castps_si512(x), 2)));
    const __m512 square = _mm512_mul_ps(guess, guess);
    const __m512 t = _mm512_fmsub_ps(_mm512_mul_ps(x, square), square, _mm512_set1_ps(0.8485f));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps($c5), t, _mm512_set1_ps($c4));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps($c3));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps($c2));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps($c1));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps($c0)); /* of infinity: -infinity */
    p = _mm512_max_ps(_mm512_set1_ps(-1.0f), p);
    %s
}
"""

_SCALES = (
    "return _mm512_fmadd_ps(guess, p, guess);",
    "return _mm512_fmadd_ps(square, p, square);",
    "const __m512 cube = _mm512_mul_ps(square, guess);\n    return _mm512_fmadd_ps(cube, p, cube);",
)
"""The ends of the routines for one, two and three quarters."""


def _quarters(exponent: float, ulps: float, coefficients: tuple[float, ...]) -> Elementary:
    number = round(exponent * 4)
    name = f"inverse_power_{number}_4"
    text = _QUARTERS % (f"{exponent:g}", f"{ulps:g}", name, _SCALES[number - 1])
    constants: dict[str, Constant] = {f"c{power}": value for power, value in enumerate(coefficients)}
    return Elementary(name, text, constants, ulps, least=LEAST)


QUARTERS: Mapping[float, Elementary] = MappingProxyType(
    {
        0.25: _quarters(0.25, 1.11, (0.0419263914, -0.306990713, 0.226117, -0.199855492, 0.194320381, -0.195639238)),
        0.5: _quarters(0.5, 1.21, (0.0856106132, -0.63972348, 0.565424025, -0.555285871, 0.58247149, -0.620223165)),
        0.75: _quarters(0.75, 2.58, (0.131126374, -0.999817014, 1.03095591, -1.11377704, 1.25409079, -1.40499961)),
    }
)
"""By the exponent without its sign; 0.75 is that of nearly all nets."""
