"""Whether this processor, or an emulator, executes AVX-512F, and what of its extensions; or at least fused products."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from pathlib import Path

from nn512.toolchain.building import BuildError, Compiler, build
from nn512.toolchain.compilers import find_compiler
from nn512.toolchain.processes import run_bounded

_TIMEOUT = 60.0
_SAID = 300

_ANSWER = r"""
#include <stdio.h>
#include <stdlib.h>
static int answer(int works, char **arguments) {
    printf("%s %ld\n", works ? "yes" : "no", 7 * atol(arguments[1]) + 1);
    return 0;
}
"""
"""The end of every program here: what it says, and what it has made of a number that it was given."""

_PLAIN_PROBE = _ANSWER + "int main(int count, char **arguments) { return count != 2 || answer(1, arguments); }\n"

_CPU_PROBE = (
    _ANSWER
    + r"""
#include <immintrin.h>
int main(int count, char **arguments) {
    float in[16], out[16];
    int i;
    if (count != 2) return 1;
    if (!__builtin_cpu_supports("avx512f")) return answer(0, arguments);
    for (i = 0; i < 16; i += 1) in[i] = (float)i;
    _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_loadu_ps(in), _mm512_set1_ps(2.0f), _mm512_set1_ps(1.0f)));
    for (i = 0; i < 16; i += 1) if (out[i] != 2.0f * (float)i + 1.0f) return 1;
    return answer(1, arguments);
}
"""
)


_BFLOAT16_PROBE = (
    _ANSWER
    + r"""
#include <immintrin.h>
__attribute__((target("avx512bf16"))) static int works(void) {
    float out[16];
    int i;
    const __m512bh pairs = (__m512bh)_mm512_set1_epi32(0x40403f80); /* 1 and 3 */
    _mm512_storeu_ps(out, _mm512_dpbf16_ps(_mm512_set1_ps(0.5f), pairs, pairs));
    for (i = 0; i < 16; i += 1) if (out[i] != 10.5f) return 0;
    return 1;
}
int main(int count, char **arguments) {
    return count != 2 || answer(__builtin_cpu_supports("avx512bf16") && works(), arguments);
}
"""
)


_FMA_PROBE = (
    _ANSWER
    + r"""
__attribute__((target("fma"))) static float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
int main(int count, char **arguments) {
    const float x = (float)(count + 8191); /* its square has more bits than a float */
    return count != 2 || answer(__builtin_cpu_supports("fma") && fused(x, x, -x * x) != 0, arguments);
}
"""
)


def _build_probe(compiler: Compiler, source: str, flags: Sequence[str], name: str) -> Path:
    """A program that says `yes` where instructions work: it asks the processor and then executes one."""
    # main must not be compiled with AVX-512 code before the question is asked; -O0 keeps the order of the source.
    arguments = ("-std=gnu99", "-O0", *flags, "probe.c")
    return build(compiler, {"probe.c": source}, arguments, name).path


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


def why_broken(compiler: Compiler, wrapper: Sequence[str], flags: Sequence[str], *, avx512: bool) -> str:
    """What becomes of a program whose answer is known, under an emulator command; nothing where it is right.

    It is run anew at every call: an emulator that worked may have ceased to. `flags` link it, `avx512` is whether it
    has such instructions. It has the name that programs have which it shall vouch for. Raises BuildError where it does
    not build.
    """
    if avx512:
        return _ask(compiler, wrapper, _CPU_PROBE, ("-mavx512f", *flags), "driver")
    return _ask(compiler, wrapper, _PLAIN_PROBE, flags, "driver")


@functools.cache
def _probe(compiler: Compiler, wrapper: tuple[str, ...], source: str, flags: tuple[str, ...] = ("-mavx512f",)) -> bool:
    try:
        return not _ask(compiler, wrapper, source, flags)
    except BuildError:
        return False


def _ask(compiler: Compiler, wrapper: Sequence[str], source: str, flags: Sequence[str], name: str = "probe") -> str:
    """What becomes of a program instead of the answer `yes`. The number is a new one, which nobody answers by rote."""
    probe = _build_probe(compiler, source, flags, name)
    number = secrets.randbelow(1 << 24)
    try:
        status, text, timed_out = run_bounded([*wrapper, str(probe), str(number)], timeout=_TIMEOUT)
    except OSError as error:
        return f"cannot be started: {error.strerror}"
    if status == 0 and not timed_out and f"yes {7 * number + 1}" in text.splitlines():
        return ""
    how = "does not end" if timed_out else f"ends with {status}" if status else "gives another answer"
    said = " ".join(text.split())[:_SAID]
    return f"{how}: {said}" if said else how
