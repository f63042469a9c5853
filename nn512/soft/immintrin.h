/* The intrinsics of AVX-512F and AVX512_BF16 that emitted code uses, in portable C, for any processor.
 *
 * Put this folder first on the include path and leave out -mavx512f: `#include <immintrin.h>` finds this file. It defines
 * exactly the names in nn512/cgen/intrinsics.py; a test compares every one of them with its numpy meaning and with the
 * hardware. Results have the hardware's bits, except which NaN comes out of arithmetic on NaNs (the hardware's own answer
 * depends on the compiler's choice of operand order).
 *
 * It is also a stricter checker than the hardware: masked and partial memory accesses touch only the selected lanes, one
 * float at a time, and whole vectors are plain accesses, so sanitizers see each of them; aligned accesses trap when they are
 * not.
 *
 * gcc >= 9 and clang >= 14, -std=c99 (where neither compiler contracts a * b + c by itself across statements). */
#ifndef NN512_SOFT_IMMINTRIN_H
#define NN512_SOFT_IMMINTRIN_H

#include <stdint.h>

#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "needs float arithmetic in float: on 32-bit x86 add -msse2 -mfpmath=sse"
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

/* Short functions are inlined even at -O0. Long ones never are: emitted code unrolls loops around them, and inlining made
 * the compiler thirty times slower. */
#define SOFT_INLINE static inline __attribute__((always_inline))
#define SOFT_CALL static __attribute__((noinline, unused))
#define SOFT_EACH for (int i = 0; i < 16; i++)
#define SOFT_EACH_UNROLLED _Pragma("GCC unroll 16") SOFT_EACH
#define SOFT_SELECTED(k) SOFT_EACH if ((k) >> i & 1)

/* ---- Types: registers are quartets of 16-byte vectors, which every target passes and compiles the same way ---- */

typedef float soft_f4 __attribute__((vector_size(16)));
typedef int32_t soft_i4 __attribute__((vector_size(16)));
typedef uint32_t soft_u4 __attribute__((vector_size(16)));

typedef struct { soft_f4 part[4]; } __m512;
typedef struct { soft_i4 part[4]; } __m512i;
typedef struct { soft_f4 part[2]; } __m256;
typedef struct { soft_i4 part[2]; } __m256i;
typedef struct { soft_f4 part[1]; } __m128;
typedef struct { double at[2]; } __m128d;
typedef __m512 __m512bh; /* the same types, so that a register is reinterpreted by a cast as it is in hardware */
typedef __m256i __m256bh;
typedef uint16_t __mmask16;

#define __AVX512BF16__ 1 /* no function needs an attribute for it */

/* The same as arrays of lanes. */
typedef struct { float at[16]; } soft_floats;
typedef struct { uint32_t at[16]; } soft_ints;
typedef struct { uint16_t at[16]; } soft_halves;

SOFT_INLINE soft_floats soft_get(__m512 a) { soft_floats r; __builtin_memcpy(&r, &a, 64); return r; }
SOFT_INLINE __m512 soft_put(soft_floats a) { __m512 r; __builtin_memcpy(&r, &a, 64); return r; }
SOFT_INLINE soft_ints soft_geti(__m512i a) { soft_ints r; __builtin_memcpy(&r, &a, 64); return r; }
SOFT_INLINE __m512i soft_puti(soft_ints a) { __m512i r; __builtin_memcpy(&r, &a, 64); return r; }
SOFT_INLINE uint32_t soft_bits(float x) { uint32_t r; __builtin_memcpy(&r, &x, 4); return r; }
SOFT_INLINE float soft_float(uint32_t x) { float r; __builtin_memcpy(&r, &x, 4); return r; }
SOFT_INLINE uint64_t soft_bits64(double x) { uint64_t r; __builtin_memcpy(&r, &x, 8); return r; }
SOFT_INLINE double soft_double(uint64_t x) { double r; __builtin_memcpy(&r, &x, 8); return r; }

/* One float of the caller's memory; any alignment. */
SOFT_INLINE float soft_read(const char *from) { float r; __builtin_memcpy(&r, from, 4); return r; }
SOFT_INLINE void soft_write(char *to, float x) { __builtin_memcpy(to, &x, 4); }
SOFT_INLINE void soft_aligned(const void *p) { if ((uintptr_t)p & 63) __builtin_trap(); }

/* 16 bytes of it. A plain access, because gcc's thread sanitizer does not see what memcpy does. */
typedef float soft_any4 __attribute__((vector_size(16), aligned(1), may_alias));
SOFT_INLINE soft_f4 soft_read4(const void *p, int at) { return *(const soft_any4 *)((const char *)p + 16 * at); }
SOFT_INLINE soft_i4 soft_readi4(const void *p, int at) { return (soft_i4)soft_read4(p, at); }
SOFT_INLINE void soft_write4(void *p, int at, soft_f4 x) { *(soft_any4 *)((char *)p + 16 * at) = x; }
SOFT_INLINE void soft_writei4(void *p, int at, soft_i4 x) { soft_write4(p, at, (soft_f4)x); }

/* ---- Loads, stores, constants ---- */

SOFT_INLINE __m512 _mm512_loadu_ps(const void *p) {
    const __m512 r = {{soft_read4(p, 0), soft_read4(p, 1), soft_read4(p, 2), soft_read4(p, 3)}};
    return r;
}

SOFT_INLINE void _mm512_storeu_ps(void *p, __m512 a) {
    soft_write4(p, 0, a.part[0]), soft_write4(p, 1, a.part[1]), soft_write4(p, 2, a.part[2]), soft_write4(p, 3, a.part[3]);
}

SOFT_INLINE __m512i _mm512_loadu_si512(const void *p) {
    const __m512i r = {{soft_readi4(p, 0), soft_readi4(p, 1), soft_readi4(p, 2), soft_readi4(p, 3)}};
    return r;
}

SOFT_INLINE void _mm512_storeu_si512(void *p, __m512i a) {
    soft_writei4(p, 0, a.part[0]), soft_writei4(p, 1, a.part[1]);
    soft_writei4(p, 2, a.part[2]), soft_writei4(p, 3, a.part[3]);
}

SOFT_INLINE __m128 _mm_loadu_ps(const float *p) {
    const __m128 r = {{soft_read4(p, 0)}};
    return r;
}

SOFT_INLINE __m128 _mm_load_ss(const float *p) {
    const __m128 r = {{{soft_read((const char *)p), 0.0f, 0.0f, 0.0f}}};
    return r;
}

SOFT_INLINE __m256i _mm256_loadu_si256(const __m256i *p) {
    const __m256i r = {{soft_readi4(p, 0), soft_readi4(p, 1)}};
    return r;
}

SOFT_INLINE void _mm256_storeu_si256(__m256i *p, __m256i a) { soft_writei4(p, 0, a.part[0]), soft_writei4(p, 1, a.part[1]); }
SOFT_INLINE void _mm256_storeu_ps(float *p, __m256 a) { soft_write4(p, 0, a.part[0]), soft_write4(p, 1, a.part[1]); }

SOFT_INLINE __m512 _mm512_load_ps(const void *p) { soft_aligned(p); return _mm512_loadu_ps(p); }
SOFT_INLINE void _mm512_store_ps(void *p, __m512 a) { soft_aligned(p); _mm512_storeu_ps(p, a); }
SOFT_INLINE void _mm512_stream_ps(void *p, __m512 a) { soft_aligned(p); _mm512_storeu_ps(p, a); }

SOFT_INLINE __m512 _mm512_set1_ps(float x) {
    const soft_f4 v = {x, x, x, x};
    const __m512 r = {{v, v, v, v}};
    return r;
}

SOFT_INLINE __m512 _mm512_setzero_ps(void) { return _mm512_set1_ps(0.0f); }

SOFT_INLINE __m512i _mm512_set1_epi32(int x) {
    const soft_i4 v = {x, x, x, x};
    const __m512i r = {{v, v, v, v}};
    return r;
}

SOFT_INLINE __m512i _mm512_setzero_si512(void) { return _mm512_set1_epi32(0); }

SOFT_INLINE __m512i _mm512_setr_epi32(int e0, int e1, int e2, int e3, int e4, int e5, int e6, int e7, int e8, int e9,
                                      int e10, int e11, int e12, int e13, int e14, int e15) {
    const __m512i r = {{{e0, e1, e2, e3}, {e4, e5, e6, e7}, {e8, e9, e10, e11}, {e12, e13, e14, e15}}};
    return r;
}

/* ---- Masked moves: only selected lanes of memory are touched ---- */

/* Lanes of a where those of `chosen` are all ones, elsewhere those of b. */
SOFT_INLINE soft_f4 soft_choose4(soft_i4 chosen, soft_f4 a, soft_f4 b) {
    return (soft_f4)((chosen & (soft_i4)a) | (~chosen & (soft_i4)b));
}

/* The bit of each lane of part `at` in a mask, and all ones where it is set. */
SOFT_INLINE soft_i4 soft_bits4(int at) { return (soft_i4){1, 2, 4, 8} << 4 * at; }
SOFT_INLINE soft_i4 soft_lanes4(__mmask16 k, int at) { return ((soft_i4){k, k, k, k} & soft_bits4(at)) != 0; }

SOFT_CALL __m512 _mm512_mask_mov_ps(__m512 src, __mmask16 k, __m512 a) {
    __m512 r;
    for (int i = 0; i < 4; i++) r.part[i] = soft_choose4(soft_lanes4(k, i), a.part[i], src.part[i]);
    return r;
}

SOFT_INLINE __m512 _mm512_maskz_mov_ps(__mmask16 k, __m512 a) { return _mm512_mask_mov_ps(_mm512_setzero_ps(), k, a); }
SOFT_INLINE __m512 _mm512_mask_blend_ps(__mmask16 k, __m512 a, __m512 b) { return _mm512_mask_mov_ps(a, k, b); }

SOFT_CALL __m512 _mm512_mask_loadu_ps(__m512 src, __mmask16 k, const void *p) {
    soft_floats r = soft_get(src);
    SOFT_SELECTED(k) r.at[i] = soft_read((const char *)p + 4 * i);
    return soft_put(r);
}

SOFT_INLINE __m512 _mm512_maskz_loadu_ps(__mmask16 k, const void *p) {
    return _mm512_mask_loadu_ps(_mm512_setzero_ps(), k, p);
}

SOFT_CALL void _mm512_mask_storeu_ps(void *p, __mmask16 k, __m512 a) {
    const soft_floats x = soft_get(a);
    SOFT_SELECTED(k) soft_write((char *)p + 4 * i, x.at[i]);
}

SOFT_CALL __m512 _mm512_mask_expandloadu_ps(__m512 src, __mmask16 k, const void *p) {
    const char *from = (const char *)p;
    soft_floats r = soft_get(src);
    SOFT_SELECTED(k) {
        r.at[i] = soft_read(from);
        from += 4;
    }
    return soft_put(r);
}

SOFT_INLINE __m512 _mm512_maskz_expandloadu_ps(__mmask16 k, const void *p) {
    return _mm512_mask_expandloadu_ps(_mm512_setzero_ps(), k, p);
}

SOFT_CALL void _mm512_mask_compressstoreu_ps(void *p, __mmask16 k, __m512 a) {
    const soft_floats x = soft_get(a);
    char *to = (char *)p;
    SOFT_SELECTED(k) {
        soft_write(to, x.at[i]);
        to += 4;
    }
}

SOFT_INLINE __m512 _mm512_maskz_expand_ps(__mmask16 k, __m512 a) { return _mm512_maskz_expandloadu_ps(k, &a); }

SOFT_INLINE __m512 _mm512_maskz_compress_ps(__mmask16 k, __m512 a) {
    __m512 r = _mm512_setzero_ps();
    _mm512_mask_compressstoreu_ps(&r, k, a);
    return r;
}

SOFT_CALL __m512 _mm512_i32gather_ps(__m512i index, const void *p, int scale) {
    const soft_ints at = soft_geti(index);
    soft_floats r;
    SOFT_EACH r.at[i] = soft_read((const char *)p + (int64_t)(int32_t)at.at[i] * scale);
    return soft_put(r);
}

SOFT_CALL void _mm512_i32scatter_ps(void *p, __m512i index, __m512 a, int scale) {
    const soft_ints at = soft_geti(index);
    const soft_floats x = soft_get(a);
    SOFT_EACH soft_write((char *)p + (int64_t)(int32_t)at.at[i] * scale, x.at[i]);
}

/* ---- Arithmetic ---- */

SOFT_INLINE __m512 _mm512_add_ps(__m512 a, __m512 b) {
    for (int i = 0; i < 4; i++) a.part[i] += b.part[i];
    return a;
}

SOFT_INLINE __m512 _mm512_sub_ps(__m512 a, __m512 b) {
    for (int i = 0; i < 4; i++) a.part[i] -= b.part[i];
    return a;
}

SOFT_INLINE __m512 _mm512_mul_ps(__m512 a, __m512 b) {
    for (int i = 0; i < 4; i++) a.part[i] *= b.part[i];
    return a;
}

SOFT_INLINE __m512 _mm512_div_ps(__m512 a, __m512 b) {
    for (int i = 0; i < 4; i++) a.part[i] /= b.part[i];
    return a;
}

SOFT_INLINE __m512 _mm512_abs_ps(__m512 a) {
    soft_ints x;
    __builtin_memcpy(&x, &a, 64);
    SOFT_EACH x.at[i] &= 0x7fffffff;
    __builtin_memcpy(&a, &x, 64);
    return a;
}

SOFT_INLINE __m512 soft_negate(__m512 a) {
    for (int i = 0; i < 4; i++) a.part[i] = -a.part[i];
    return a;
}

/* The hardware's minimum and maximum: the second operand where either is NaN or both are zero. */
SOFT_INLINE __m512 _mm512_min_ps(__m512 a, __m512 b) {
    __m512 r;
    for (int i = 0; i < 4; i++) r.part[i] = soft_choose4(a.part[i] < b.part[i], a.part[i], b.part[i]);
    return r;
}

SOFT_INLINE __m512 _mm512_max_ps(__m512 a, __m512 b) {
    __m512 r;
    for (int i = 0; i < 4; i++) r.part[i] = soft_choose4(a.part[i] > b.part[i], a.part[i], b.part[i]);
    return r;
}

/* a * b + c rounded once, for any floats. The product is exact in double; the sum is rounded to odd (an inexact sum takes
 * the neighbour whose last bit is 1), after which rounding to float is right: S. Boldo, G. Melquiond, "Emulation of a FMA
 * and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008. */
SOFT_CALL float soft_fma_odd(float a, float b, float c) {
    const double product = (double)a * b;
    const double sum = product + c;
    const double back = sum - product;
    const double error = (product - (sum - back)) + (c - back);
    uint64_t bits = soft_bits64(sum);
    if ((error < 0.0 || error > 0.0) && !(bits & 1)) bits = (error < 0.0) == (sum < 0.0) ? bits + 1 : bits - 1;
    return (float)soft_double(bits);
}

/* The same for 16 lanes. The double sum rounded to float is right already, unless it lies halfway between two floats or its
 * float is subnormal: a vector with such a lane, one in 2^25 of random data, takes the long way. */
SOFT_CALL void soft_fma(float *restrict r, const float *restrict a, const float *restrict b, const float *restrict c) {
#ifdef __FP_FAST_FMAF
    SOFT_EACH r[i] = __builtin_fmaf(a[i], b[i], c[i]);
#else
    int doubt = 0;
    SOFT_EACH_UNROLLED {
        const double sum = (double)a[i] * b[i] + c[i];
        const uint64_t bits = soft_bits64(sum);
        doubt |= (bits & 0x1fffffff) == 0x10000000;
        doubt |= 2 * bits - 1 < (uint64_t)(1023 - 126) << 53; /* 0 < |sum| < 2^-126 */
        r[i] = (float)sum;
    }
    if (doubt) SOFT_EACH r[i] = soft_fma_odd(a[i], b[i], c[i]);
#endif
}

#if defined(__FMA__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_vfmaddps)
#define SOFT_FMA_4 __builtin_ia32_vfmaddps /* x86 with -mfma: its own instruction, four lanes at a time */
#endif
#endif

SOFT_INLINE __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
#ifdef SOFT_FMA_4
    __m512 r;
    for (int i = 0; i < 4; i++) r.part[i] = SOFT_FMA_4(a.part[i], b.part[i], c.part[i]);
    return r;
#else
    const soft_floats x = soft_get(a), y = soft_get(b), z = soft_get(c);
    soft_floats r;
    soft_fma(r.at, x.at, y.at, z.at);
    return soft_put(r);
#endif
}

SOFT_INLINE __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(soft_negate(a), b, c); }
SOFT_INLINE __m512 _mm512_fmsub_ps(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, soft_negate(c)); }

SOFT_INLINE __m512 _mm512_mask_fmadd_ps(__m512 a, __mmask16 k, __m512 b, __m512 c) {
    return _mm512_mask_mov_ps(a, k, _mm512_fmadd_ps(a, b, c));
}

SOFT_INLINE __m512 _mm512_mask3_fmadd_ps(__m512 a, __m512 b, __m512 c, __mmask16 k) {
    return _mm512_mask_mov_ps(c, k, _mm512_fmadd_ps(a, b, c));
}

SOFT_INLINE __m512 _mm512_mask_mul_ps(__m512 src, __mmask16 k, __m512 a, __m512 b) {
    return _mm512_mask_mov_ps(src, k, _mm512_mul_ps(a, b));
}

SOFT_INLINE __m512 _mm512_mask_add_ps(__m512 src, __mmask16 k, __m512 a, __m512 b) {
    return _mm512_mask_mov_ps(src, k, _mm512_add_ps(a, b));
}

SOFT_INLINE __m512 _mm512_mask_max_ps(__m512 src, __mmask16 k, __m512 a, __m512 b) {
    return _mm512_mask_mov_ps(src, k, _mm512_max_ps(a, b));
}

SOFT_INLINE __m512 _mm512_mask_min_ps(__m512 src, __mmask16 k, __m512 a, __m512 b) {
    return _mm512_mask_mov_ps(src, k, _mm512_min_ps(a, b));
}

/* Square root, rounded once: digit by digit in integers, so that no math library is needed. */
SOFT_CALL double soft_sqrt(double x) {
    const uint64_t one = (uint64_t)1 << 52;
    uint64_t rest = soft_bits64(x) & (one - 1);
    int exponent = (int)(soft_bits64(x) >> 52 & 2047);
    if (x != x) return x + x;
    if (x == 0.0 || x == __builtin_inf()) return x;
    if (x < 0.0) return soft_double((uint64_t)0xfff8 << 48); /* the hardware's NaN for an invalid operation */
    if (exponent)
        rest |= one;
    else
        for (exponent = 1; !(rest & one); exponent--) rest <<= 1;
    exponent -= 1023; /* x = rest * 2^(exponent - 52) */
    if (exponent & 1) {
        rest <<= 1;
        exponent--;
    }
    /* Root = sqrt(rest * 2^52) in 53 bits, then one bit more to round by; twice is 2 * root + that bit. */
    uint64_t twice = 0, tried = 0;
    rest <<= 1;
    for (uint64_t bit = one << 1; bit; bit >>= 1) {
        if (tried + bit <= rest) {
            rest -= tried + bit;
            tried += 2 * bit;
            twice += bit;
        }
        rest <<= 1;
    }
    /* A root never lies exactly between two doubles, so the last bit rounds; the carry may reach the exponent. */
    const uint64_t root = (twice >> 1) + (twice & 1);
    return soft_double(((uint64_t)(exponent / 2 + 1022) << 52) + root);
}

/* Rounding twice is right here: a double has more than twice the bits of a float and two. */
SOFT_CALL __m512 _mm512_sqrt_ps(__m512 a) {
    soft_floats x = soft_get(a);
    SOFT_EACH x.at[i] = (float)soft_sqrt(x.at[i]);
    return soft_put(x);
}

SOFT_INLINE __m128d _mm_set1_pd(double x) { const __m128d r = {{x, x}}; return r; }
SOFT_INLINE double _mm_cvtsd_f64(__m128d a) { return a.at[0]; }

SOFT_INLINE __m128d _mm_sqrt_pd(__m128d a) {
    for (int i = 0; i < 2; i++) a.at[i] = soft_sqrt(a.at[i]);
    return a;
}

/* Nearest (ties to even), down, up or towards zero, as the low bits of an immediate say; bit 2 asks for the current mode,
 * which is nearest. Exact for |x| <= 2^52, and larger numbers are integers already. */
SOFT_CALL double soft_round(double x, int mode) {
    const double magnitude = x < 0.0 ? -x : x;
    if (!(magnitude < 0x1p52)) return x;
    double r = (magnitude + 0x1p52) - 0x1p52;
    switch (mode & 4 ? 0 : mode & 3) {
    case 1: r += x < 0.0 ? r < magnitude : -(r > magnitude); break;
    case 2: r += x < 0.0 ? -(r > magnitude) : r < magnitude; break;
    case 3: r -= r > magnitude; break;
    default: break;
    }
    return soft_double(soft_bits64(r) | (soft_bits64(x) & (uint64_t)1 << 63));
}

/* Rounds to a multiple of 2^-(imm >> 4). */
SOFT_CALL __m512 _mm512_roundscale_ps(__m512 a, int imm) {
    const double unit = (double)(1 << (imm >> 4 & 15));
    soft_floats x = soft_get(a);
    SOFT_EACH x.at[i] = (float)(soft_round(x.at[i] * unit, imm) / unit);
    return soft_put(x);
}

/* a * 2^floor(b), rounded once. */
SOFT_CALL float soft_scalef(float a, float b) {
    const float infinity = __builtin_inff();
    const int quiet = (soft_bits(a) & 0x400000) != 0;
    if (a != a) return quiet && b == infinity ? infinity : quiet && b == -infinity ? 0.0f : a + a;
    if (b != b) return b + b;
    if ((b == infinity && a == 0.0f) || (b == -infinity && (a == infinity || a == -infinity)))
        return soft_float(0xffc00000);
    const int power = (int)soft_round(b < -400.0f ? -400.0f : b > 400.0f ? 400.0f : b, 1); /* further makes no difference */
    return (float)(a * soft_double((uint64_t)(1023 + power) << 52));
}

SOFT_CALL __m512 _mm512_scalef_ps(__m512 a, __m512 b) {
    const soft_floats y = soft_get(b);
    soft_floats x = soft_get(a);
    SOFT_EACH x.at[i] = soft_scalef(x.at[i], y.at[i]);
    return soft_put(x);
}

/* The exponent of |a| in scientific notation, as a float: -inf for 0. As a double every float is normal. */
SOFT_CALL __m512 _mm512_getexp_ps(__m512 a) {
    soft_floats x = soft_get(a);
    SOFT_EACH {
        const float magnitude = soft_float(soft_bits(x.at[i]) & 0x7fffffff);
        const int exponent = (int)(soft_bits64(magnitude) >> 52) - 1023;
        x.at[i] = !(magnitude < __builtin_inff()) ? magnitude : magnitude > 0.0f ? (float)exponent : -__builtin_inff();
    }
    return soft_put(x);
}

enum { _MM_MANT_NORM_1_2 = 0, _MM_MANT_NORM_p5_2 = 1, _MM_MANT_NORM_p5_1 = 2, _MM_MANT_NORM_p75_1p5 = 3 };
enum { _MM_MANT_SIGN_src = 0, _MM_MANT_SIGN_zero = 1, _MM_MANT_SIGN_nan = 2 };

/* The mantissa in [1, 2), [1/2, 2), [1/2, 1) or [3/4, 3/2); of 0 and infinity 1. With the sign, or without, or NaN for
 * what is below 0. */
SOFT_CALL __m512 _mm512_getmant_ps(__m512 a, int norm, int sign) {
    soft_floats x = soft_get(a);
    SOFT_EACH {
        const float magnitude = soft_float(soft_bits(x.at[i]) & 0x7fffffff);
        const uint64_t bits = soft_bits64(magnitude), fraction = bits & (((uint64_t)1 << 52) - 1);
        const int odd = !(bits >> 52 & 1), large = (int)(fraction >> 51); /* 1023, of the exponent 0, is odd */
        const int halved = norm == 1 ? odd : norm == 2 ? 1 : norm == 3 ? large : 0;
        const double scaled = soft_double(((uint64_t)(1023 - halved) << 52) | fraction);
        const float mantissa = magnitude > 0.0f && magnitude < __builtin_inff() ? (float)scaled : 1.0f;
        if (magnitude != magnitude) continue;
        if (x.at[i] < 0.0f && sign & 2)
            x.at[i] = soft_float(0xffc00000);
        else
            x.at[i] = soft_bits(x.at[i]) >> 31 && !(sign & 1) ? -mantissa : mantissa;
    }
    return soft_put(x);
}

/* ---- Comparison ---- */

enum {
    _CMP_EQ_OQ = 0,
    _CMP_UNORD_Q = 3,
    _CMP_NEQ_UQ = 4,
    _CMP_ORD_Q = 7,
    _CMP_LT_OQ = 17,
    _CMP_LE_OQ = 18,
    _CMP_NLT_UQ = 21,
    _CMP_NLE_UQ = 22,
    _CMP_GE_OQ = 29,
    _CMP_GT_OQ = 30
};

SOFT_CALL __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
    /* By predicate mod 16 (the rest says which NaNs signal): is it true for less = 1, equal = 2, greater = 4, unordered = 8? */
    static const unsigned char truth[16] = {2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15};
    const int true_for = truth[predicate & 15];
    soft_i4 mask = {0};
    for (int i = 0; i < 4; i++) {
        const soft_i4 less = a.part[i] < b.part[i], equal = a.part[i] == b.part[i], greater = a.part[i] > b.part[i];
        const soft_i4 relation = (less & 1) | (equal & 2) | (greater & 4) | (~(less | equal | greater) & 8);
        mask |= ((relation & true_for) != 0) & soft_bits4(i);
    }
    return (__mmask16)(mask[0] | mask[1] | mask[2] | mask[3]);
}

/* ---- Permutations ---- */

SOFT_CALL __m512 _mm512_permutexvar_ps(__m512i index, __m512 a) {
    const soft_ints at = soft_geti(index);
    const soft_floats x = soft_get(a);
    soft_floats r;
    SOFT_EACH r.at[i] = x.at[at.at[i] & 15];
    return soft_put(r);
}

SOFT_INLINE __m512 _mm512_mask_permutexvar_ps(__m512 src, __mmask16 k, __m512i index, __m512 a) {
    return _mm512_mask_mov_ps(src, k, _mm512_permutexvar_ps(index, a));
}

SOFT_CALL __m512 _mm512_permutex2var_ps(__m512 a, __m512i index, __m512 b) {
    const soft_ints at = soft_geti(index);
    const soft_floats x = soft_get(a), y = soft_get(b);
    soft_floats r;
    SOFT_EACH r.at[i] = at.at[i] & 16 ? y.at[at.at[i] & 15] : x.at[at.at[i] & 15];
    return soft_put(r);
}

/* Within each quarter, lane i takes lane imm[2i+1:2i]: of a for the lower half of the quarter, of b for the upper. */
SOFT_CALL __m512 _mm512_shuffle_ps(__m512 a, __m512 b, int imm) {
    const soft_floats x = soft_get(a), y = soft_get(b);
    soft_floats r;
    SOFT_EACH {
        const int from = (i & ~3) + (imm >> 2 * (i & 3) & 3);
        r.at[i] = i & 2 ? y.at[from] : x.at[from];
    }
    return soft_put(r);
}

SOFT_INLINE __m512 _mm512_permute_ps(__m512 a, int imm) { return _mm512_shuffle_ps(a, a, imm); }

SOFT_CALL __m512 _mm512_unpacklo_ps(__m512 a, __m512 b) {
    const soft_floats x = soft_get(a), y = soft_get(b);
    soft_floats r;
    SOFT_EACH r.at[i] = (i & 1 ? y : x).at[(i & ~3) + (i & 3) / 2];
    return soft_put(r);
}

SOFT_CALL __m512 _mm512_unpackhi_ps(__m512 a, __m512 b) {
    const soft_floats x = soft_get(a), y = soft_get(b);
    soft_floats r;
    SOFT_EACH r.at[i] = (i & 1 ? y : x).at[(i & ~3) + 2 + (i & 3) / 2];
    return soft_put(r);
}

SOFT_INLINE __m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, int imm) {
    const __m512 r = {{a.part[imm & 3], a.part[imm >> 2 & 3], b.part[imm >> 4 & 3], b.part[imm >> 6 & 3]}};
    return r;
}

SOFT_CALL __m512 _mm512_broadcastss_ps(__m128 a) {
    soft_floats r;
    SOFT_EACH __builtin_memcpy(&r.at[i], &a, 4); /* as bits: they may be a pair of bfloat16 */
    return soft_put(r);
}

SOFT_INLINE __m512 _mm512_broadcast_f32x4(__m128 a) {
    const __m512 r = {{a.part[0], a.part[0], a.part[0], a.part[0]}};
    return r;
}

/* ---- Reductions: halves, then halves of halves, as both compilers do. The maximum with a NaN is unspecified. ---- */

SOFT_INLINE float _mm512_reduce_add_ps(__m512 a) {
    const soft_f4 v = (a.part[0] + a.part[2]) + (a.part[1] + a.part[3]);
    return (v[0] + v[2]) + (v[1] + v[3]);
}

SOFT_INLINE float _mm512_mask_reduce_add_ps(__mmask16 k, __m512 a) {
    return _mm512_reduce_add_ps(_mm512_maskz_mov_ps(k, a));
}

SOFT_CALL float _mm512_reduce_max_ps(__m512 a) {
    const soft_floats x = soft_get(a);
    float r = x.at[0];
    SOFT_EACH r = r > x.at[i] ? r : x.at[i];
    return r;
}

SOFT_INLINE float _mm512_mask_reduce_max_ps(__mmask16 k, __m512 a) {
    return _mm512_reduce_max_ps(_mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), k, a));
}

/* ---- Integers ---- */

SOFT_INLINE __m512i _mm512_add_epi32(__m512i a, __m512i b) {
    for (int i = 0; i < 4; i++) a.part[i] = (soft_i4)((soft_u4)a.part[i] + (soft_u4)b.part[i]);
    return a;
}

SOFT_INLINE __m512i _mm512_sub_epi32(__m512i a, __m512i b) {
    for (int i = 0; i < 4; i++) a.part[i] = (soft_i4)((soft_u4)a.part[i] - (soft_u4)b.part[i]);
    return a;
}

SOFT_INLINE __m512i _mm512_mullo_epi32(__m512i a, __m512i b) {
    for (int i = 0; i < 4; i++) a.part[i] = (soft_i4)((soft_u4)a.part[i] * (soft_u4)b.part[i]);
    return a;
}

SOFT_INLINE __m512i _mm512_slli_epi32(__m512i a, unsigned imm) {
    for (int i = 0; i < 4; i++) a.part[i] = (soft_i4)((soft_u4)a.part[i] << (imm & 31)) & -(imm < 32);
    return a;
}

SOFT_INLINE __m512i _mm512_srli_epi32(__m512i a, unsigned imm) {
    for (int i = 0; i < 4; i++) a.part[i] = (soft_i4)((soft_u4)a.part[i] >> (imm & 31)) & -(imm < 32);
    return a;
}

/* ---- Conversions ---- */

SOFT_INLINE __m512i _mm512_castps_si512(__m512 a) { __m512i r; __builtin_memcpy(&r, &a, 64); return r; }
SOFT_INLINE __m512 _mm512_castsi512_ps(__m512i a) { __m512 r; __builtin_memcpy(&r, &a, 64); return r; }
SOFT_INLINE __m256 _mm512_castps512_ps256(__m512 a) { __m256 r; __builtin_memcpy(&r, &a, 32); return r; }
SOFT_INLINE float _mm512_cvtss_f32(__m512 a) { return a.part[0][0]; }

SOFT_CALL __m512 _mm512_cvtepi32_ps(__m512i a) {
    const soft_ints x = soft_geti(a);
    soft_floats r;
    SOFT_EACH r.at[i] = (float)(int32_t)x.at[i];
    return soft_put(r);
}

/* To the nearest integer, ties to even; INT32_MIN for NaN and whatever does not fit. */
SOFT_CALL __m512i _mm512_cvtps_epi32(__m512 a) {
    const soft_floats x = soft_get(a);
    soft_ints r;
    SOFT_EACH {
        const int fits = x.at[i] >= -0x1p31f && x.at[i] < 0x1p31f;
        r.at[i] = fits ? (uint32_t)(int32_t)soft_round(x.at[i], 0) : UINT32_C(0x80000000);
    }
    return soft_puti(r);
}

SOFT_CALL __m512 _mm512_cvtph_ps(__m256i a) {
    soft_halves h;
    soft_floats r;
    __builtin_memcpy(&h, &a, 32);
    SOFT_EACH {
        const uint32_t sign = (uint32_t)(h.at[i] >> 15) << 31, exponent = h.at[i] >> 10 & 31, fraction = h.at[i] & 1023;
        uint32_t bits;
        if (exponent == 31)
            bits = 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0);
        else if (exponent)
            bits = (exponent + 112) << 23 | fraction << 13;
        else
            bits = soft_bits((float)fraction * 0x1p-24f);
        r.at[i] = soft_float(sign | bits);
    }
    return soft_put(r);
}

SOFT_CALL uint16_t soft_half(float x, int mode) {
    const uint32_t sign = soft_bits(x) >> 16 & 0x8000, magnitude = soft_bits(x) & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    /* The unit in the last place of the half: 2^-24 for subnormals, 2^(e - 10) for exponent e. */
    const int exponent = (int)(magnitude >> 23) - 127 < -14 ? -14 : (int)(magnitude >> 23) - 127;
    const double unit = soft_double((uint64_t)(1023 + exponent - 10) << 52);
    const double steps = magnitude == 0x7f800000 ? 0x1p40 : (double)soft_float(magnitude) / unit;
    const double signed_steps = soft_round(sign ? -steps : steps, mode);
    const double rounded = signed_steps < 0.0 ? -signed_steps : signed_steps;
    if (rounded * unit > 65504.0) { /* beyond the largest half: infinity, unless the mode rounds towards zero */
        const int nearest = (mode & 4) || (mode & 3) == 0;
        const int outward = nearest || (mode & 3) == (sign ? 1 : 2) || magnitude == 0x7f800000;
        return (uint16_t)(sign | (outward ? 0x7c00 : 0x7bff));
    }
    /* Counting steps from the bottom of the binade carries into the exponent where rounding reaches the next one. */
    return (uint16_t)(sign | ((uint32_t)(exponent + 14) * 1024 + (uint32_t)rounded));
}

SOFT_CALL __m256i _mm512_cvtps_ph(__m512 a, int mode) {
    const soft_floats x = soft_get(a);
    soft_halves h;
    __m256i r;
    SOFT_EACH h.at[i] = soft_half(x.at[i], mode);
    __builtin_memcpy(&r, &h, 32);
    return r;
}

enum {
    _MM_FROUND_TO_NEAREST_INT = 0,
    _MM_FROUND_TO_NEG_INF = 1,
    _MM_FROUND_TO_POS_INF = 2,
    _MM_FROUND_TO_ZERO = 3,
    _MM_FROUND_CUR_DIRECTION = 4,
    _MM_FROUND_NO_EXC = 8
};

/* ---- Pairs of bfloat16 in a lane. Subnormal numbers are zeros, whatever the processor's modes are ---- */

SOFT_INLINE uint32_t soft_flushed(uint32_t bits) { return bits & 0x7f800000 ? bits : bits & 0x80000000; }

SOFT_CALL __m256bh _mm512_cvtneps_pbh(__m512 a) {
    const soft_floats x = soft_get(a);
    soft_halves h;
    __m256bh r;
    SOFT_EACH {
        const uint32_t bits = soft_flushed(soft_bits(x.at[i]));
        const int nan = (bits & 0x7fffffff) > 0x7f800000;
        h.at[i] = (uint16_t)((nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    __builtin_memcpy(&r, &h, 32);
    return r;
}

SOFT_CALL __m512 _mm512_dpbf16_ps(__m512 src, __m512bh a, __m512bh b) {
    const soft_floats x = soft_get(a), y = soft_get(b);
    soft_floats left, right, sum, before = soft_get(src);
    SOFT_EACH before.at[i] = soft_float(soft_flushed(soft_bits(before.at[i])));
    for (int number = 1; number >= 0; number--) { /* the upper products first */
        SOFT_EACH left.at[i] = soft_float(soft_flushed(soft_bits(x.at[i]) << 16 * !number & 0xffff0000));
        SOFT_EACH right.at[i] = soft_float(soft_flushed(soft_bits(y.at[i]) << 16 * !number & 0xffff0000));
        soft_fma(sum.at, left.at, right.at, before.at);
        SOFT_EACH before.at[i] = soft_float(soft_flushed(soft_bits(sum.at[i])));
    }
    return soft_put(before);
}

/* ---- Hints, and questions about the processor ---- */

enum { _MM_HINT_NTA = 0, _MM_HINT_T2 = 1, _MM_HINT_T1 = 2, _MM_HINT_T0 = 3 };

#define _mm_prefetch(address, hint) ((void)(address), (void)(hint))
SOFT_INLINE void _mm_pause(void) {}
#define __builtin_cpu_init() ((void)0)
#define __builtin_cpu_supports(feature) 1

#undef SOFT_INLINE
#undef SOFT_CALL
#undef SOFT_EACH
#undef SOFT_EACH_UNROLLED
#undef SOFT_SELECTED

#endif
