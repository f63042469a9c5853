"""What emitted C is built with: flags, and the portable <immintrin.h> where the processor lacks the instructions."""

from __future__ import annotations

import hashlib
from pathlib import Path

from nn512.errors import CannotRunError
from nn512.toolchain.building import Compiler, build
from nn512.toolchain.cache import BuildCache
from nn512.toolchain.compilers import find_compiler

SOFT_INCLUDE = Path(__file__).resolve().parents[1] / "soft"
"""Directory whose <immintrin.h> defines the intrinsics in portable C."""

LANGUAGE_FLAGS = ("-std=c99", "-pthread")
"""Flags every build of emitted C has. POSIX names are made visible by the source itself."""

NATIVE_FLAGS = ("-mavx512f",)

STRICT_FLAGS = ("-Wall", "-Wextra", "-Werror")
"""Warnings that emitted C must not cause."""

SMALL_FRAME_FLAGS = ("-Wframe-larger-than=16384",)
"""A warning of functions that keep more than 16 KiB on the stack: threads of some C libraries have 128 KiB in all. For
native, optimized code; what is not optimized has a place on the stack for every intermediate result."""


def soft_flags() -> tuple[str, ...]:
    """Flags that put the portable <immintrin.h> first. Raises CannotRunError when it is not installed."""
    if not (SOFT_INCLUDE / "immintrin.h").is_file():
        raise CannotRunError(f"the portable intrinsics header is missing from {SOFT_INCLUDE}; reinstall nn512")
    return ("-I", str(SOFT_INCLUDE))


def soft_fingerprint() -> str:
    """Hash of the portable header, for the `depends` of a build that uses it."""
    digest = hashlib.sha256()
    for path in sorted(SOFT_INCLUDE.glob("*.h")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compile_shared(
    header_name: str,
    header: str,
    source: str,
    *,
    soft: bool = False,
    compiler: Compiler | None = None,
    optimize: str = "-O2",
    cache: BuildCache | None = None,
) -> Path:
    """Shared object made of one emitted pair; `header_name` is what the source includes. Cached.

    Raises BuildError, or CannotRunError where there is no compiler.
    """
    compiler = find_compiler() if compiler is None else compiler
    target = soft_flags() if soft else NATIVE_FLAGS
    arguments = [*LANGUAGE_FLAGS, optimize, *target, "-fPIC", "-shared", "net.c"]
    return build(
        compiler,
        {header_name: header, "net.c": source},
        arguments,
        "net.so",
        cache=cache,
        depends=[soft_fingerprint()] if soft else [],
    ).path
