"""The C compiler of this machine, and what the processor can do.

    processes.py    commands run within bounds of time and memory
    cache.py        files built earlier
    building.py     a compiler run over given sources, and who is at fault where that fails
    compilers.py    finding a compiler that works
    machine.py      a full disk or no memory, told apart from what a net does
    portable.py     intrinsics in portable C, as a header and as a library
    emitted.py      flags that emitted C is built with
    processor.py    whether AVX-512F works here

Only what runs emitted code needs this folder; emitting C needs no compiler.
"""

from nn512.toolchain.building import BuildError, Compiler, CompilerKind, build
from nn512.toolchain.cache import BuildCache, Built, default_cache, default_cache_directory
from nn512.toolchain.compilers import (
    all_compilers,
    find_compiler,
    find_compilers,
    find_cross_compiler,
    programs_of,
)
from nn512.toolchain.emitted import (
    LANGUAGE_FLAGS,
    NATIVE_FLAGS,
    SMALL_FRAME_FLAGS,
    STRICT_FLAGS,
    compile_shared,
)
from nn512.toolchain.machine import machine_faults
from nn512.toolchain.portable import (
    SOFT_INCLUDE,
    PortableLibrary,
    portable_library,
    soft_fingerprint,
    soft_flags,
)
from nn512.toolchain.processes import end_group, ended, run_bounded, watched
from nn512.toolchain.processor import has_avx512, has_bfloat16, why_broken

__all__ = [
    "LANGUAGE_FLAGS",
    "NATIVE_FLAGS",
    "SMALL_FRAME_FLAGS",
    "SOFT_INCLUDE",
    "STRICT_FLAGS",
    "BuildCache",
    "BuildError",
    "Built",
    "Compiler",
    "CompilerKind",
    "PortableLibrary",
    "all_compilers",
    "build",
    "compile_shared",
    "default_cache",
    "default_cache_directory",
    "end_group",
    "ended",
    "find_compiler",
    "find_compilers",
    "find_cross_compiler",
    "has_avx512",
    "has_bfloat16",
    "machine_faults",
    "portable_library",
    "programs_of",
    "run_bounded",
    "soft_fingerprint",
    "soft_flags",
    "watched",
    "why_broken",
]
