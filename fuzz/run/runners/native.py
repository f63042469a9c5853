"""The processor itself."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.run.runners import sanitizers as kinds
from fuzz.run.runners.base import Runner, Unavailable
from fuzz.run.runners.sanitizers import SEPARATOR, Sanitizer
from nn512.toolchain import NATIVE_FLAGS, Compiler, has_avx512, has_bfloat16

NAME = "native"


def probe(compiler: Compiler, sanitizers: Sequence[Sanitizer] = ()) -> Runner | Unavailable:
    """The native runner, if a compiled program finds AVX-512F working; `sanitizers` are built in where given.

    clang's see masked loads and stores; gcc's do not.
    """
    if not has_avx512(compiler):
        return Unavailable(NAME, "this processor has no AVX-512F, or the compiler does not know it")
    if reason := kinds.why_missing(compiler, tuple(sanitizers)):
        return Unavailable(NAME, reason)
    return Runner(
        SEPARATOR.join((NAME, *(sanitizer.value for sanitizer in sanitizers))),
        f"this processor executes AVX-512F{kinds.told(sanitizers)}",
        compiler,
        (*NATIVE_FLAGS, *kinds.flags_of(sanitizers)),
        sanitizers=tuple(sanitizers),
        slowdown=20.0 if sanitizers else 1.0,
        environment=kinds.environment_of(sanitizers),
        bfloat16=has_bfloat16(compiler),
    )
