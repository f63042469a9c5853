"""What emitted C is built with, for this processor or, where that lacks the instructions, with portable intrinsics."""

from __future__ import annotations

from pathlib import Path

from nn512.toolchain.building import Compiler, build
from nn512.toolchain.cache import BuildCache
from nn512.toolchain.compilers import find_compiler
from nn512.toolchain.portable import portable_library

LANGUAGE_FLAGS = ("-std=c99", "-pthread")
"""Flags every build of emitted C has. POSIX names are made visible by the source itself."""

NATIVE_FLAGS = ("-mavx512f",)

STRICT_FLAGS = ("-Wall", "-Wextra", "-Werror")
"""Warnings that emitted C must not cause."""

SMALL_FRAME_FLAGS = ("-Wframe-larger-than=16384",)
"""A warning of functions that keep more than 16 KiB on the stack: threads of some C libraries have 128 KiB in all. For
native, optimized code; what is not optimized has a place on the stack for every intermediate result."""


def compile_shared(
    header_name: str,
    header: str,
    source: str,
    *,
    soft: bool = False,
    compiler: Compiler | None = None,
    cache: BuildCache | None = None,
) -> Path:
    """Shared object made of one emitted pair; `header_name` is what the source includes. Cached.

    A `soft` one is for any processor, and calls portable intrinsics.
    Raises BuildError, or CannotRunError where there is no compiler.
    """
    compiler = find_compiler() if compiler is None else compiler
    files = {header_name: header, "net.c": source}
    arguments = [*LANGUAGE_FLAGS, "-fPIC", "-shared", "net.c"]
    if soft:
        # Of SqueezeNet gcc makes calls in a second, which take 1.2 times as long to run as what 20 seconds make.
        library = portable_library(compiler, ("-fPIC",), cache)
        arguments += ["-Og", *library.flags, library.object]
    else:
        arguments += ["-O2", *NATIVE_FLAGS]
    return build(compiler, files, arguments, "net.so", cache=cache).path
