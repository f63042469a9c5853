"""Emitted C without the one instruction that Bochs 2.7 gets wrong (known.py): all others can be compared bit for bit.

`vcvtps2ph` rounds ties away from zero there. Who compares a machine with an emulator gives both the same mended text.
"""

from __future__ import annotations

_INTRINSIC = "_mm512_cvtps_ph("
_INCLUDE = "#include <immintrin.h>\n"
_INSTEAD = """\
#include <stdint.h>
#include <string.h>

/* The nearest number of fp16, ties to even, in integers. */
static uint16_t nn512_mended_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and more */
    if (magnitude < 0x38800000) {                                  /* steps of 2^-24, as floats near a half have them */
        const float near = (x < 0 ? -x : x) + 0.5f;
        memcpy(&bits, &near, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    return (uint16_t)(sign | (((magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13) - (112 << 10)));
}

static __m256i nn512_mended_halves(__m512 x, int mode) {
    float lanes[16];
    uint16_t halves[16];
    (void)mode; /* the nearest, wherever emitted code asks */
    _mm512_storeu_ps(lanes, x);
    for (int i = 0; i < 16; i++) halves[i] = nn512_mended_half(lanes[i]);
    return _mm256_loadu_si256((const __m256i *)halves);
}
"""


def mended(source: str) -> str:
    """The same C by other instructions; unchanged where it does not have that one."""
    if _INTRINSIC not in source:
        return source
    return source.replace(_INTRINSIC, "nn512_mended_halves(").replace(_INCLUDE, _INCLUDE + _INSTEAD, 1)
