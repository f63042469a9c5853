"""Our own <immintrin.h> in portable C: the same emitted file on any processor, and under the compiler's sanitizers.

Native builds hide masked loads and stores from AddressSanitizer; here they are plain C, so it sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from fuzz.run.runners.base import Runner, Sanitizer, Unavailable
from nn512.errors import CannotRunError
from nn512.toolchain import Compiler, soft_fingerprint, soft_flags

NAME = "soft"

# The driver's own handlers name the tensor that a fault hit, which a sanitizer cannot. It counts leaks itself, too.
_COMMON = "handle_segv=0:handle_sigbus=0:handle_abort=0:exitcode=86"
_OPTIONS = MappingProxyType(
    {
        "ASAN_OPTIONS": f"{_COMMON}:detect_leaks=0:allocator_may_return_null=1",
        "TSAN_OPTIONS": _COMMON,
        "UBSAN_OPTIONS": _COMMON,
    }
)


def probe(compiler: Compiler, sanitizers: Sequence[Sanitizer] = ()) -> Runner | Unavailable:
    """The soft runner; `sanitizers` are built in where given."""
    try:
        flags = soft_flags()
    except CannotRunError as error:
        return Unavailable(NAME, str(error))
    extra = [flag for sanitizer in sanitizers for flag in sanitizer.flags]
    names = " and ".join(sanitizer.value for sanitizer in sanitizers)
    return Runner(
        NAME,
        f"intrinsics in portable C, {names} sanitizer" if names else "intrinsics in portable C",
        compiler,
        (*flags, *extra),
        shows="the C",
        depends=(soft_fingerprint(),),
        sanitizers=tuple(sanitizers),
        slowdown=100.0 if sanitizers else 20.0,
        environment=_OPTIONS if sanitizers else MappingProxyType({}),
    )
