"""Whether this processor, or an emulator, executes AVX-512F."""

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


def _build_probe(compiler: Compiler) -> Path:
    """A program that prints `yes` where AVX-512F works: it asks the processor and then executes an instruction."""
    # main must not be compiled with AVX-512 code before the question is asked; -O0 keeps the order of the source.
    arguments = ("-std=gnu99", "-O0", "-mavx512f", "probe.c")
    return build(compiler, {"probe.c": _CPU_PROBE}, arguments, "probe").path


def has_avx512(compiler: Compiler | None = None, wrapper: Sequence[str] = ()) -> bool:
    """Whether AVX-512F instructions work here (or under the emulator command `wrapper`).

    A compiled program is asked, since /proc/cpuinfo shows the host's processor under emulation. False where the
    compiler does not know the instructions.
    """
    compiler = find_compiler() if compiler is None else compiler
    return _probe(compiler, tuple(wrapper))


@functools.cache
def _probe(compiler: Compiler, wrapper: tuple[str, ...]) -> bool:
    try:
        probe = _build_probe(compiler)
        status, text, timed_out = run_bounded([*wrapper, str(probe)], timeout=60)
    except (BuildError, OSError):
        return False
    return status == 0 and not timed_out and "yes" in text.split()
