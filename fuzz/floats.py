"""Measures the errors of elementary functions over floats: all 2^32 of them, or every so many.

The C that is emitted is compiled, with AVX-512 where the processor has it and with the portable intrinsics elsewhere,
beside the meaning of each function in double precision. The error is in units of the last place of the true result.
NaN must be where the meaning has it, infinities and zeros must have its sign.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import TextIO

from nn512 import toolchain
from nn512.kernels.elementary import FUNCTIONS, Constant, Elementary

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "exp_of": "exp(x)",
        "sigmoid_of": "x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x))",
        "silu_of": "x < -800 ? -0.0 : x < 0 ? x * exp(x) / (1 + exp(x)) : x / (1 + exp(-x))",
        "tanh_of": "tanh(x)",
        "gelu_of": "x < -40 ? 0 : x > 40 ? x : x / 2 * erfc(-x * 0.70710678118654752)",
        "gelu_tanh_of": "x < -40 ? 0 : x > 40 ? x : x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))",
        "expm1_of": "expm1(x)",
        "softplus_of": "(x < 0 ? 0 : x) + log1p(exp(-fabs(x)))",
        "mish_of": "x < -800 ? 0 : x > 40 ? x : x / (1 + 2 / (exp(x) * (exp(x) + 2)))",
        "log_of": "log(x)",
    }
)
"""Each function of a double x in C."""

FLOATS = 1 << 32

_PROGRAM = """\
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE inline __attribute__((always_inline))
{routines}
static double meaning(double x) {{ return {meaning}; }}

/* How far a result is off, in units in the last place of what it should be or of `beside` times the argument, after
 * `floor` has been taken off. */
static double error_of(float x, float result, double wanted, double floor, double beside) {{
    const float single = (float)wanted;
    if (isnan(wanted) || isnan(result)) return isnan(wanted) && isnan(result) ? 0 : INFINITY;
    if (isinf(single) || wanted == 0) {{
        if (result == single && (x != 0 || !signbit(result) == !signbit(wanted))) return 0;
        if (isinf(wanted) || wanted == 0) return INFINITY;
    }}
    const double off = fabs((isinf(result) ? copysign(0x1p128, result) : result) - wanted) - floor;
    const double measure = fmax(fabs(wanted), beside * fabs((double)x));
    uint64_t bits; /* that is 2^(exponent - 1023) and more */
    memcpy(&bits, &measure, sizeof bits);
    uint64_t exponent = bits >> 52 & 2047;
    exponent = exponent < 1023 - 126 ? 1023 - 126 : exponent > 1023 + 127 ? 1023 + 127 : exponent;
    bits = (2 * 1023 + 23 - exponent) << 52; /* of one over the unit, 2^(23 - exponent) */
    double units;
    memcpy(&units, &bits, sizeof units);
    return off <= 0 ? 0 : off * units;
}}

/* The largest error at every `stride`th float from `first` to before `end`, and the bits of where it is. */
double measure(uint64_t first, uint64_t end, uint64_t stride, double floor, double beside, double least,
               double most, uint32_t *where) {{
    double worst = -1;
    for (uint64_t at = first; at < end; at += 16 * stride) {{
        float x[16], y[16];
        for (int i = 0; i < 16; i++) {{
            const uint32_t bits = (uint32_t)(at + i * stride < end ? at + i * stride : at);
            memcpy(x + i, &bits, 4);
        }}
        _mm512_storeu_ps(y, {name}(_mm512_loadu_ps(x)));
        for (int i = 0; i < 16; i++) {{
            if (x[i] < least || x[i] > most) continue;
            const double error = error_of(x[i], y[i], meaning(x[i]), floor, beside);
            if (error > worst) {{
                worst = error;
                memcpy(where, x + i, 4);
            }}
        }}
    }}
    return worst;
}}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The largest error in units in the last place, and the argument that has it."""

    ulps: float
    at: float


def measure(
    function: Elementary,
    stride: int = 1,
    constants: Mapping[str, Constant] | None = None,
    ranges: Sequence[tuple[int, int]] = ((0, FLOATS),),
    threads: int = 1,
) -> Measured:
    """The largest error at every `stride`th float whose bits are in `ranges`; with other constants, if given."""
    routines = [*_needed(function), function.write({**function.constants, **(constants or {})})]
    program = _PROGRAM.format(routines="".join(routines), meaning=MEANINGS[function.name], name=function.name)
    compiler = toolchain.find_compiler()
    native = toolchain.has_avx512(compiler)
    flags = toolchain.NATIVE_FLAGS if native else (*toolchain.soft_flags(), "-march=native")
    arguments = [*toolchain.LANGUAGE_FLAGS, "-O3", *flags, "-fPIC", "-shared", "floats.c", "-lm"]
    depends = [] if native else [toolchain.soft_fingerprint()]
    built = toolchain.build(compiler, {"floats.c": program}, arguments, "floats.so", depends=depends)
    library = ctypes.CDLL(str(built.path))
    library.measure.restype = ctypes.c_double
    library.measure.argtypes = [ctypes.c_uint64] * 3 + [ctypes.c_double] * 4 + [ctypes.POINTER(ctypes.c_uint32)]

    def part(piece: tuple[int, int]) -> Measured:
        where = ctypes.c_uint32()
        limits = (function.floor, function.beside, function.least, function.most)
        error = library.measure(*piece, stride, *limits, ctypes.byref(where))
        return Measured(error, struct.unpack("f", struct.pack("I", where.value))[0])

    with ThreadPoolExecutor(threads) as pool:
        return max(pool.map(part, _pieces(ranges, stride)), key=lambda measured: measured.ulps)


def _needed(function: Elementary) -> list[str]:
    return [text for needed in function.needs for text in (*_needed(needed), needed.write(needed.constants))]


def _pieces(ranges: Sequence[tuple[int, int]], stride: int) -> list[tuple[int, int]]:
    """The ranges in pieces for threads: the first of each is a multiple of the stride behind that of the range."""
    size = (FLOATS // 256 // stride + 1) * stride
    return [(at, min(at + size, end)) for first, end in ranges for at in range(first, end, size)]


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Measure over all floats and print a table. 1 where a function errs more than it declares."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.floats", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FUNCTIONS)}; all without")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="processors taken")
    parser.add_argument("--stride", type=int, default=1, help="measure every so many floats; 1 is all of them")
    given = parser.parse_args(arguments)
    exceeded = 0
    for name in given.names or FUNCTIONS:
        function, began = FUNCTIONS[name], time.monotonic()
        found = measure(function, given.stride, threads=given.threads)
        exceeded += found.ulps > function.ulps
        floor = f" beyond {function.floor:.3g}" if function.floor else ""
        stream.write(
            f"{name:16} {found.ulps:.4f} ulp{floor} at {found.at!r}, declared {function.ulps:g}"
            f"{' EXCEEDED' if found.ulps > function.ulps else ''} ({time.monotonic() - began:.0f} s)\n"
        )
        stream.flush()
    return min(exceeded, 1)


if __name__ == "__main__":
    sys.exit(main())
