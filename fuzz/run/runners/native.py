"""The processor itself."""

from __future__ import annotations

from fuzz.run.runners.base import Runner, Unavailable
from nn512.toolchain import NATIVE_FLAGS, Compiler, has_avx512

NAME = "native"


def probe(compiler: Compiler) -> Runner | Unavailable:
    """The native runner, if a compiled program finds AVX-512F working."""
    if not has_avx512(compiler):
        return Unavailable(NAME, "this processor has no AVX-512F, or the compiler does not know it")
    return Runner(NAME, "this processor executes AVX-512F", compiler, NATIVE_FLAGS)
