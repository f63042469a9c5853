"""Every name of <immintrin.h> that emitted code may use: C signature and numpy meaning side by side.

A meaning takes one value per parameter of the signature and returns what the intrinsic returns:

    __m512, __m256, __m128   float32 arrays of 16, 8, 4 lanes
    __m128d                  float64 array of 2 lanes
    __m512i                  int32 array of 16 lanes
    __m256i                  float16 array of 16 lanes (its only use is as 16 half floats)
    __m512bh, __m256bh       bfloat16 numbers, uint16 array of 32 and 16 lanes
    __mmask16                bool array of 16 lanes
    float, double, int       a number (unsigned too)
    a pointer                the memory it points to as an array of elements (float32; float16 behind `__m256i *`)

An intrinsic that stores has C result `void` and a meaning that returns the memory afterwards. `nn512/soft/immintrin.h`
defines the same names in portable C; a test compares meaning, soft header and hardware lane by lane.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Meaning: TypeAlias = Callable[..., Any]

TYPES = ("__m128", "__m128d", "__m256", "__m256bh", "__m256i", "__m512", "__m512bh", "__m512i", "__mmask16")

CONSTANTS = {
    "_CMP_EQ_OQ": 0,
    "_CMP_UNORD_Q": 3,
    "_CMP_NEQ_UQ": 4,
    "_CMP_ORD_Q": 7,
    "_CMP_LT_OQ": 17,
    "_CMP_LE_OQ": 18,
    "_CMP_NLT_UQ": 21,
    "_CMP_NLE_UQ": 22,
    "_CMP_GE_OQ": 29,
    "_CMP_GT_OQ": 30,
    "_MM_FROUND_TO_NEAREST_INT": 0,
    "_MM_FROUND_TO_NEG_INF": 1,
    "_MM_FROUND_TO_POS_INF": 2,
    "_MM_FROUND_TO_ZERO": 3,
    "_MM_FROUND_CUR_DIRECTION": 4,
    "_MM_FROUND_NO_EXC": 8,
    "_MM_MANT_NORM_1_2": 0,
    "_MM_MANT_NORM_p5_2": 1,
    "_MM_MANT_NORM_p5_1": 2,
    "_MM_MANT_NORM_p75_1p5": 3,
    "_MM_MANT_SIGN_src": 0,
    "_MM_MANT_SIGN_zero": 1,
    "_MM_MANT_SIGN_nan": 2,
    "_MM_HINT_NTA": 0,
    "_MM_HINT_T2": 1,
    "_MM_HINT_T1": 2,
    "_MM_HINT_T0": 3,
}

EXTENSIONS = {"avx512bf16": "__AVX512BF16__"}
"""Extensions beyond AVX-512F that rows of the table need, with the macro that says that a whole file may use them."""

# Questions about the processor; the soft header answers yes.
BUILTINS = ("__builtin_cpu_init", "__builtin_cpu_supports")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an intrinsic; `type` is its C type without the name."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """One row of the table. A function that uses it has its `extension` as the target attribute, if it has one."""

    name: str
    result: str
    parameters: tuple[Parameter, ...]
    meaning: Meaning
    extension: str = ""

    @property
    def signature(self) -> str:
        """The C declaration."""
        listed = ", ".join(f"{p.type}{'' if p.type.endswith('*') else ' '}{p.name}" for p in self.parameters)
        return f"{self.result} {self.name}({listed or 'void'})"


_DECLARATION = re.compile(r"(?P<result>\w+) (?P<name>\w+)\((?P<parameters>.*)\)")
_PARAMETER = re.compile(r"(?P<type>.*?[ *])(?P<name>\w+)")


def _row(declaration: str, meaning: Meaning, extension: str = "") -> Intrinsic:
    found = _DECLARATION.fullmatch(declaration)
    assert found is not None, declaration
    listed = [] if found["parameters"] == "void" else found["parameters"].split(", ")
    parameters = tuple(
        Parameter(p["type"].strip(), p["name"]) for text in listed if (p := _PARAMETER.fullmatch(text)) is not None
    )
    return Intrinsic(found["name"], found["result"], parameters, meaning, extension)


LANES = np.arange(16)
ZERO = np.zeros(16, np.float32)


def fma(a: Array, b: Array, c: Array) -> Array:
    """`a * b + c` rounded once to float32.

    The product is exact in float64; the sum is rounded to odd there, after which rounding to float32 is right (Boldo
    and Melquiond, IEEE Trans. Computers 57(4), 2008).
    """
    product = a.astype(np.float64) * b
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    inexact = np.isfinite(total) & (error != 0)
    even = total.view(np.int64) % 2 == 0
    outwards = np.where(error > 0, np.inf, -np.inf)
    odd: Array = np.where(inexact & even, np.nextafter(total, outwards), total)
    return odd.astype(np.float32)


def _minimum(a: Array, b: Array) -> Array:
    return np.where(a < b, a, b)


def _maximum(a: Array, b: Array) -> Array:
    return np.where(a > b, a, b)


def _expand(source: Array, k: Array, packed: Array) -> Array:
    result = source.copy()
    result[k] = packed[: np.count_nonzero(k)]
    return result


def _compress(memory: Array, k: Array, a: Array) -> Array:
    result = memory.copy()
    result[: np.count_nonzero(k)] = a[k]
    return result


def _stored(memory: Array, a: Array) -> Array:
    return np.concatenate([a, memory[len(a) :]])


def _mask_stored(memory: Array, k: Array, a: Array) -> Array:
    return _stored(memory, np.where(k, a, memory[:16]))


def _gather(index: Array, memory: Array, scale: int) -> Array:
    found: Array = memory[index * scale // 4]
    return found


def _scatter(memory: Array, index: Array, a: Array, scale: int) -> Array:
    result = memory.copy()
    for lane in LANES:  # in this order: of equal indices the highest lane wins
        result[index[lane] * scale // 4] = a[lane]
    return result


def _halves(a: Array) -> np.float32:
    while len(a) > 1:
        a = a[: len(a) // 2] + a[len(a) // 2 :]
    return np.float32(a[0])


def _compare(a: Array, b: Array, predicate: int) -> Array:
    """The sixteen relations; predicates 16 apart differ only in which NaNs signal."""
    unordered = np.isnan(a) | np.isnan(b)
    relations: list[Array] = [
        a == b,
        a < b,
        a <= b,
        unordered,
        a != b,
        ~(a < b),
        ~(a <= b),
        ~unordered,
        (a == b) | unordered,
        ~(a >= b),
        ~(a > b),
        np.zeros(16, bool),
        (a != b) & ~unordered,
        a >= b,
        a > b,
        np.ones(16, bool),
    ]
    return relations[predicate % 16]


_ROUND: tuple[Callable[[Array], Array], ...] = (np.rint, np.floor, np.ceil, np.trunc)


def _rounding(mode: int) -> Callable[[Array], Array]:
    return np.rint if mode & 4 else _ROUND[mode & 3]


def _roundscale(a: Array, imm: int) -> Array:
    unit = 2.0 ** (imm >> 4)
    return (_rounding(imm)(a.astype(np.float64) * unit) / unit).astype(np.float32)


def _scalef(a: Array, b: Array) -> Array:
    """`a * 2^floor(b)`; a quiet NaN times 2^inf is inf and times 2^-inf is 0, as the hardware has it."""
    steps = np.clip(np.floor(np.nan_to_num(b, nan=0.0)), -400, 400)
    result = a * np.exp2(steps.astype(np.float64))
    result = np.where(np.isnan(b), np.nan, result)
    result = np.where((b == np.inf) & (a == 0) | (b == -np.inf) & np.isinf(a), np.nan, result)
    result = np.where(np.isnan(a) & (b == np.inf), np.inf, result)
    result = np.where(np.isnan(a) & (b == -np.inf), 0.0, result)
    return result.astype(np.float32)


def _getexp(a: Array) -> Array:
    """The exponent of the magnitude in scientific notation; subnormal numbers have their own, too."""
    return np.where(np.isfinite(a) & (a != 0), np.frexp(a)[1] - 1, np.log2(np.abs(a))).astype(np.float32)


def _getmant(a: Array, norm: int, sign: int) -> Array:
    """The magnitude without its exponent, in [1, 2), [1/2, 2), [1/2, 1) or [3/4, 3/2); that of 0 and infinity is 1."""
    fraction, exponent = np.frexp(np.abs(a))  # from 1/2 to 1
    halved = (exponent % 2 == 0, exponent % 2 == 0, np.ones(16, bool), fraction >= 0.75)[norm] & (norm > 0)
    mantissa = np.where(np.isfinite(a) & (a != 0), np.where(halved, fraction, 2 * fraction), 1.0)
    signed = mantissa if sign & 1 else np.copysign(mantissa, a)
    refused = (sign & 2 > 0) & (a < 0) | np.isnan(a)
    return np.where(refused, np.nan, signed).astype(np.float32)


def _to_int(a: Array) -> Array:
    rounded = np.rint(a.astype(np.float64))
    fits = (rounded >= -(2.0**31)) & (rounded < 2.0**31)
    return np.where(fits, rounded, -(2.0**31)).astype(np.int32)


def _to_half(a: Array, mode: int) -> Array:
    """To half floats; modes other than nearest step one half back where the nearest lies on the wrong side."""
    nearest = a.astype(np.float16)
    if mode & 4 or mode & 3 == 0:
        return nearest
    wide = nearest.astype(np.float32)
    down = np.where(wide > a, np.nextafter(nearest, np.float16(-np.inf)), nearest)
    up = np.where(wide < a, np.nextafter(nearest, np.float16(np.inf)), nearest)
    directed = (down, up, np.where(a < 0, up, down))[(mode & 3) - 1]
    return np.copysign(directed, a.astype(np.float16))


def _flushed(a: Array) -> Array:
    """Subnormal numbers as zeros of their sign."""
    return np.where(np.abs(a) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), a), a)


def _to_bfloat16(a: Array) -> Array:
    """To the nearest bfloat16, ties to even; subnormal numbers become zeros, and a NaN keeps its upper bits."""
    bits = _flushed(a).view(np.uint32)
    nearest = bits + 0x7FFF + (bits >> 16 & 1)
    return np.asarray(np.where(np.isnan(a), bits | 0x400000, nearest) >> 16, np.uint16)


def _pair_products(src: Array, a: Array, b: Array) -> Array:
    """`src + a1 * b1 + a0 * b0` for the numbers 0 and 1 of each lane: the upper ones first, each sum rounded once.

    Numbers are rounded to nearest and subnormal ones are zeros, whatever the control register says: arguments, the
    first sum and the result.
    """
    total = _flushed(src)
    for number in (1, 0):
        x, y = ((numbers[number::2].astype(np.uint32) << 16).view(np.float32) for numbers in (a, b))
        total = _flushed(fma(_flushed(x), _flushed(y), total))
    return total


def _unpack(offset: int) -> Meaning:
    first = LANES // 4 * 4 + offset + LANES % 4 // 2
    return lambda a, b: np.where(LANES % 2, b[first], a[first])


def _shuffle(a: Array, b: Array, imm: int) -> Array:
    source = LANES // 4 * 4 + (imm >> 2 * (LANES % 4) & 3)
    return np.where(LANES % 4 < 2, a[source], b[source])


def _quarters(a: Array, b: Array, imm: int) -> Array:
    return np.concatenate([(a, a, b, b)[q].reshape(4, 4)[imm >> 2 * q & 3] for q in range(4)])


def _shift(operation: Callable[[Array, Any], Array]) -> Meaning:
    def meaning(a: Array, imm: int) -> Array:
        shifted = operation(a.view(np.uint32).astype(np.uint64), np.uint64(imm))
        return (shifted & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)

    return meaning


_ROWS = (
    # Loads, stores, constants
    _row("__m512 _mm512_loadu_ps(const void *p)", lambda p: p[:16]),
    _row("__m512 _mm512_load_ps(const void *p)", lambda p: p[:16]),
    _row("void _mm512_storeu_ps(void *p, __m512 a)", _stored),
    _row("void _mm512_store_ps(void *p, __m512 a)", _stored),
    _row("void _mm512_stream_ps(void *p, __m512 a)", _stored),
    _row("__m512i _mm512_loadu_si512(const void *p)", lambda p: p[:16].view(np.int32)),
    _row("void _mm512_storeu_si512(void *p, __m512i a)", lambda p, a: _stored(p, a.view(np.float32))),
    _row("__m128 _mm_loadu_ps(const float *p)", lambda p: p[:4]),
    _row("__m128 _mm_load_ss(const float *p)", lambda p: np.where(LANES[:4] == 0, p[:4], ZERO[:4])),
    _row("__m256i _mm256_loadu_si256(const __m256i *p)", lambda p: p[:16]),
    _row("void _mm256_storeu_si256(__m256i *p, __m256i a)", _stored),
    _row("void _mm256_storeu_ps(float *p, __m256 a)", _stored),
    _row("__m512 _mm512_set1_ps(float x)", lambda x: np.full(16, x, np.float32)),
    _row("__m512 _mm512_setzero_ps(void)", lambda: ZERO),
    _row("__m512i _mm512_set1_epi32(int x)", lambda x: np.full(16, x, np.int32)),
    _row("__m512i _mm512_setzero_si512(void)", lambda: np.zeros(16, np.int32)),
    _row(
        f"__m512i _mm512_setr_epi32({', '.join(f'int e{lane}' for lane in LANES)})",
        lambda *lanes: np.array(lanes, np.int32),
    ),
    # Masked moves: only the selected lanes of memory are touched
    _row("__m512 _mm512_mask_mov_ps(__m512 src, __mmask16 k, __m512 a)", lambda src, k, a: np.where(k, a, src)),
    _row("__m512 _mm512_maskz_mov_ps(__mmask16 k, __m512 a)", lambda k, a: np.where(k, a, ZERO)),
    _row("__m512 _mm512_mask_blend_ps(__mmask16 k, __m512 a, __m512 b)", lambda k, a, b: np.where(k, b, a)),
    _row(
        "__m512 _mm512_mask_loadu_ps(__m512 src, __mmask16 k, const void *p)",
        lambda src, k, p: np.where(k, p[:16], src),
    ),
    _row("__m512 _mm512_maskz_loadu_ps(__mmask16 k, const void *p)", lambda k, p: np.where(k, p[:16], ZERO)),
    _row("void _mm512_mask_storeu_ps(void *p, __mmask16 k, __m512 a)", _mask_stored),
    _row("__m512 _mm512_mask_expandloadu_ps(__m512 src, __mmask16 k, const void *p)", _expand),
    _row("__m512 _mm512_maskz_expandloadu_ps(__mmask16 k, const void *p)", lambda k, p: _expand(ZERO, k, p)),
    _row("void _mm512_mask_compressstoreu_ps(void *p, __mmask16 k, __m512 a)", _compress),
    _row("__m512 _mm512_maskz_expand_ps(__mmask16 k, __m512 a)", lambda k, a: _expand(ZERO, k, a)),
    _row("__m512 _mm512_maskz_compress_ps(__mmask16 k, __m512 a)", lambda k, a: _compress(ZERO, k, a)),
    _row("__m512 _mm512_i32gather_ps(__m512i index, const void *p, int scale)", _gather),
    _row("void _mm512_i32scatter_ps(void *p, __m512i index, __m512 a, int scale)", _scatter),
    # Arithmetic
    _row("__m512 _mm512_add_ps(__m512 a, __m512 b)", np.add),
    _row("__m512 _mm512_sub_ps(__m512 a, __m512 b)", np.subtract),
    _row("__m512 _mm512_mul_ps(__m512 a, __m512 b)", np.multiply),
    _row("__m512 _mm512_div_ps(__m512 a, __m512 b)", np.divide),
    _row("__m512 _mm512_abs_ps(__m512 a)", np.abs),
    _row("__m512 _mm512_sqrt_ps(__m512 a)", np.sqrt),
    _row("__m128d _mm_set1_pd(double x)", lambda x: np.full(2, x)),
    _row("__m128d _mm_sqrt_pd(__m128d a)", np.sqrt),
    _row("double _mm_cvtsd_f64(__m128d a)", lambda a: a[0]),
    _row("__m512 _mm512_min_ps(__m512 a, __m512 b)", _minimum),
    _row("__m512 _mm512_max_ps(__m512 a, __m512 b)", _maximum),
    _row("__m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c)", fma),
    _row("__m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c)", lambda a, b, c: fma(-a, b, c)),
    _row("__m512 _mm512_fmsub_ps(__m512 a, __m512 b, __m512 c)", lambda a, b, c: fma(a, b, -c)),
    _row(
        "__m512 _mm512_mask_fmadd_ps(__m512 a, __mmask16 k, __m512 b, __m512 c)",
        lambda a, k, b, c: np.where(k, fma(a, b, c), a),
    ),
    _row(
        "__m512 _mm512_mask3_fmadd_ps(__m512 a, __m512 b, __m512 c, __mmask16 k)",
        lambda a, b, c, k: np.where(k, fma(a, b, c), c),
    ),
    _row(
        "__m512 _mm512_mask_mul_ps(__m512 src, __mmask16 k, __m512 a, __m512 b)",
        lambda src, k, a, b: np.where(k, a * b, src),
    ),
    _row(
        "__m512 _mm512_mask_add_ps(__m512 src, __mmask16 k, __m512 a, __m512 b)",
        lambda src, k, a, b: np.where(k, a + b, src),
    ),
    _row(
        "__m512 _mm512_mask_max_ps(__m512 src, __mmask16 k, __m512 a, __m512 b)",
        lambda src, k, a, b: np.where(k, _maximum(a, b), src),
    ),
    _row(
        "__m512 _mm512_mask_min_ps(__m512 src, __mmask16 k, __m512 a, __m512 b)",
        lambda src, k, a, b: np.where(k, _minimum(a, b), src),
    ),
    _row("__m512 _mm512_roundscale_ps(__m512 a, int imm)", _roundscale),
    _row("__m512 _mm512_scalef_ps(__m512 a, __m512 b)", _scalef),
    _row("__m512 _mm512_getexp_ps(__m512 a)", _getexp),
    _row("__m512 _mm512_getmant_ps(__m512 a, int norm, int sign)", _getmant),
    _row("__mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate)", _compare),
    # Permutations
    _row("__m512 _mm512_permutexvar_ps(__m512i index, __m512 a)", lambda index, a: a[index & 15]),
    _row(
        "__m512 _mm512_mask_permutexvar_ps(__m512 src, __mmask16 k, __m512i index, __m512 a)",
        lambda src, k, index, a: np.where(k, a[index & 15], src),
    ),
    _row(
        "__m512 _mm512_permutex2var_ps(__m512 a, __m512i index, __m512 b)",
        lambda a, index, b: np.concatenate([a, b])[index & 31],
    ),
    _row("__m512 _mm512_permute_ps(__m512 a, int imm)", lambda a, imm: _shuffle(a, a, imm)),
    _row("__m512 _mm512_shuffle_ps(__m512 a, __m512 b, int imm)", _shuffle),
    _row("__m512 _mm512_unpacklo_ps(__m512 a, __m512 b)", _unpack(0)),
    _row("__m512 _mm512_unpackhi_ps(__m512 a, __m512 b)", _unpack(2)),
    _row("__m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, int imm)", _quarters),
    _row("__m512 _mm512_broadcastss_ps(__m128 a)", lambda a: np.tile(a[:1], 16)),
    _row("__m512 _mm512_broadcast_f32x4(__m128 a)", lambda a: np.tile(a, 4)),
    # Reductions: pairwise, halves first. The maximum is unspecified where a lane is NaN, since compilers differ.
    _row("float _mm512_reduce_add_ps(__m512 a)", _halves),
    _row("float _mm512_mask_reduce_add_ps(__mmask16 k, __m512 a)", lambda k, a: _halves(np.where(k, a, ZERO))),
    _row("float _mm512_reduce_max_ps(__m512 a)", np.max),
    _row("float _mm512_mask_reduce_max_ps(__mmask16 k, __m512 a)", lambda k, a: np.max(a, where=k, initial=-np.inf)),
    # Integers
    _row("__m512i _mm512_add_epi32(__m512i a, __m512i b)", np.add),
    _row("__m512i _mm512_sub_epi32(__m512i a, __m512i b)", np.subtract),
    _row("__m512i _mm512_mullo_epi32(__m512i a, __m512i b)", np.multiply),
    _row("__m512i _mm512_slli_epi32(__m512i a, unsigned imm)", _shift(np.left_shift)),
    _row("__m512i _mm512_srli_epi32(__m512i a, unsigned imm)", _shift(np.right_shift)),
    # Conversions
    _row("__m512i _mm512_castps_si512(__m512 a)", lambda a: a.view(np.int32)),
    _row("__m512 _mm512_castsi512_ps(__m512i a)", lambda a: a.view(np.float32)),
    _row("__m256 _mm512_castps512_ps256(__m512 a)", lambda a: a[:8]),
    _row("float _mm512_cvtss_f32(__m512 a)", lambda a: a[0]),
    _row("__m512 _mm512_cvtepi32_ps(__m512i a)", lambda a: a.astype(np.float32)),
    _row("__m512i _mm512_cvtps_epi32(__m512 a)", _to_int),
    _row("__m512 _mm512_cvtph_ps(__m256i a)", lambda a: a.astype(np.float32)),
    _row("__m256i _mm512_cvtps_ph(__m512 a, int mode)", _to_half),
    # Pairs of bfloat16 in a lane
    _row("__m256bh _mm512_cvtneps_pbh(__m512 a)", _to_bfloat16, "avx512bf16"),
    _row("__m512 _mm512_dpbf16_ps(__m512 src, __m512bh a, __m512bh b)", _pair_products, "avx512bf16"),
    # Hints
    _row("void _mm_prefetch(const void *address, int hint)", lambda address, _hint: address),
    _row("void _mm_pause(void)", lambda: None),
)

INTRINSICS = {row.name: row for row in _ROWS}

_VOCABULARY = re.compile(r"\b(?:_mm\d*_\w+|__m\d+\w*|__mmask\d+|_CMP_\w+|_MM_\w+|__builtin_cpu\w*)\b")


def unknown_names(source: str) -> tuple[str, ...]:
    """Names in a C source that look like intrinsics, their types or constants and are not in the table; sorted.

    Comments and strings count too: emitted text names nothing that it does not use.
    """
    known = {*INTRINSICS, *TYPES, *CONSTANTS, *BUILTINS}
    return tuple(sorted(set(_VOCABULARY.findall(source)) - known))


def check(source: str) -> None:
    """Refuse a C source that uses an intrinsic outside of the table. Raises ValueError naming all of them."""
    unknown = unknown_names(source)
    if unknown:
        raise ValueError(f"not in the table of intrinsics: {', '.join(unknown)}")
