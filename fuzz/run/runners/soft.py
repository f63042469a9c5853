"""Our own <immintrin.h> in portable C: the same emitted file on any processor, and under the compiler's sanitizers.

Native builds of gcc hide masked loads and stores from AddressSanitizer; here they are plain C, so it sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from fuzz.run.runners import sanitizers as kinds
from fuzz.run.runners.base import Runner, Unavailable
from fuzz.run.runners.sanitizers import SEPARATOR, Sanitizer
from nn512.errors import CannotRunError
from nn512.toolchain import Compiler, soft_fingerprint, soft_flags

NAME = "soft"

_LEVELS = MappingProxyType({"-Og": "-O0", **dict.fromkeys(("-O1", "-O2", "-O3"), "-Og")})
"""Levels instead of others: what is optimized more takes compilers many times as long. Nets whose intrinsics are calls
run nearly as fast when they are not optimized at all."""


def probe(compiler: Compiler, sanitizers: Sequence[Sanitizer] = ()) -> Runner | Unavailable:
    """The soft runner; `sanitizers` are built in where given."""
    try:
        flags = soft_flags()
    except CannotRunError as error:
        return Unavailable(NAME, str(error))
    if reason := kinds.why_missing(compiler, tuple(sanitizers)):
        return Unavailable(NAME, reason)
    return Runner(
        SEPARATOR.join((NAME, *(sanitizer.value for sanitizer in sanitizers))),
        f"intrinsics in portable C{kinds.told(sanitizers)}",
        compiler,
        (*flags, *kinds.flags_of(sanitizers)),
        shows="the C",
        depends=(soft_fingerprint(),),
        sanitizers=tuple(sanitizers),
        slowdown=100.0 if sanitizers else 20.0,
        environment=kinds.environment_of(sanitizers),
        bfloat16=True,
        levels=_LEVELS,
        portable=True,
    )
