"""Whether this processor, or an emulator, executes AVX-512F, and what of its extensions; or at least fused products."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from nn512.toolchain.building import BuildError, Compiler, build
from nn512.toolchain.compilers import find_compiler
from nn512.toolchain.processes import run_bounded

_CPU_PROBE = r"""
#include <immintrin.h>
#include <stdio.h>
int main(void) {
    float in[16], out[16];
    int i;
    if (!__builtin_cpu_supports("avx512f")) {
        puts("no");
        return 0;
    }
    for (i = 0; i < 16; i += 1) in[i] = (float)i;
    _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_loadu_ps(in), _mm512_set1_ps(2.0f), _mm512_set1_ps(1.0f)));
    for (i = 0; i < 16; i += 1) if (out[i] != 2.0f * (float)i + 1.0f) return 1;
    puts("yes");
    return 0;
}
"""


_BFLOAT16_PROBE = r"""
#include <immintrin.h>
#include <stdio.h>
__attribute__((target("avx512bf16"))) static int works(void) {
    float out[16];
    int i;
    const __m512bh pairs = (__m512bh)_mm512_set1_epi32(0x40403f80); /* 1 and 3 */
    _mm512_storeu_ps(out, _mm512_dpbf16_ps(_mm512_set1_ps(0.5f), pairs, pairs));
    for (i = 0; i < 16; i += 1) if (out[i] != 10.5f) return 0;
    return 1;
}
int main(void) {
    puts(__builtin_cpu_supports("avx512bf16") && works() ? "yes" : "no");
    return 0;
}
"""


_FMA_PROBE = r"""
#include <stdio.h>
__attribute__((target("fma"))) static float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
int main(int count, char **arguments) {
    const float x = (float)(count + 8192); /* its square has more bits than a float */
    (void)arguments;
    puts(__builtin_cpu_supports("fma") && fused(x, x, -x * x) != 0 ? "yes" : "no");
    return 0;
}
"""


def _build_probe(compiler: Compiler, source: str, flags: Sequence[str]) -> Path:
    """A program that prints `yes` where instructions work: it asks the processor and then executes one."""
    # main must not be compiled with AVX-512 code before the question is asked; -O0 keeps the order of the source.
    arguments = ("-std=gnu99", "-O0", *flags, "probe.c")
    return build(compiler, {"probe.c": source}, arguments, "probe").path


def has_avx512(compiler: Compiler | None = None, wrapper: Sequence[str] = ()) -> bool:
    """Whether AVX-512F instructions work here (or under the emulator command `wrapper`).

    A compiled program is asked, since /proc/cpuinfo shows the host's processor under emulation. False where the
    compiler does not know the instructions.
    """
    compiler = find_compiler() if compiler is None else compiler
    return _probe(compiler, tuple(wrapper), _CPU_PROBE)


def has_bfloat16(compiler: Compiler | None = None, wrapper: Sequence[str] = ()) -> bool:
    """The same of AVX512_BF16, which a net of the platform AVX512BFloat16 needs besides."""
    compiler = find_compiler() if compiler is None else compiler
    return has_avx512(compiler, wrapper) and _probe(compiler, tuple(wrapper), _BFLOAT16_PROBE)


def has_fma(compiler: Compiler) -> bool:
    """Whether the x86 processor that this compiler compiles for is this one, and has fused products of 128 bits."""
    return _probe(compiler, (), _FMA_PROBE, ())


@functools.cache
def _probe(compiler: Compiler, wrapper: tuple[str, ...], source: str, flags: tuple[str, ...] = ("-mavx512f",)) -> bool:
    try:
        probe = _build_probe(compiler, source, flags)
        status, text, timed_out = run_bounded([*wrapper, str(probe)], timeout=60)
    except (BuildError, OSError):
        return False
    return status == 0 and not timed_out and "yes" in text.split()
