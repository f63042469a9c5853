"""Stand-alone driver programs out of a net's header and source, whoever emitted them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import assert_never

from fuzz.run.interface import Interface, Region, Tap
from fuzz.run.runners.base import Runner
from fuzz.run.runners.sanitizers import flags_of
from nn512.errors import CannotRunError
from nn512.graph.graph import Graph
from nn512.toolchain import (
    LANGUAGE_FLAGS,
    NATIVE_FLAGS,
    SMALL_FRAME_FLAGS,
    STRICT_FLAGS,
    BuildCache,
    BuildError,
    Compiler,
    CompilerKind,
    build,
    default_cache,
    portable_library,
)

__all__ = ["BuildError", "Executable", "build_net", "check_header", "fuzz_cache", "net_options"]

DRIVER_SOURCES = (
    *("driver.c", "scenarios.c", "calls.c", "blocks.c", "heap.c", "workers.c", "process.c", "taps.c", "arena.c"),
    "report.c",
)

WRAPPED = (
    *("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "free"),
    *("pthread_create", "pthread_join", "pthread_detach"),
    *("pthread_mutex_init", "pthread_mutex_destroy"),
    *("pthread_cond_init", "pthread_cond_destroy", "pthread_cond_wait"),
)
"""Functions of the C library that the driver stands in front of."""

UNIT = "nn512_unit.c"
"""The file that includes the net's source."""

_WARNINGS = ("-Wall", "-Wextra")

_UNOPTIMIZED = frozenset(("-O0", "-Og"))
"""Levels at which local arrays stay on the stack, and that no user takes."""

_NO_UNWINDING = ("-fno-asynchronous-unwind-tables",)
"""Nobody unwinds the stack of a net. The tables for it take the compiler and the linker 3 of 75 ms of a small net."""

_SHADOWS = ("-Wshadow=local",)
"""gcc's warning of locals that hide others. Its full one, and clang's, are also of tensors that are called as a type of
ours is, or as a variable of the C library."""

_GUESSES = ("-Wno-maybe-uninitialized",)
"""gcc gives this warning by what the optimizer knows: -Og does not follow conditions that -O2 does."""

_INTRINSICS = "#include <immintrin.h>\n"
"""Costs gcc a quarter of a second to read."""

_PARTS = ("x86gprintrin", "mmintrin", "xmmintrin", "emmintrin", "pmmintrin", "tmmintrin", "smmintrin")
_PARTS_512 = ("avxintrin", "avx2intrin", "avx512fintrin", "fmaintrin", "f16cintrin")
_FEW_INTRINSICS = "#define _IMMINTRIN_H_INCLUDED\n" + "".join(
    f"#include <{part}.h>\n" for part in (*_PARTS, *_PARTS_512)
)
"""What gcc's <immintrin.h> includes up to AVX-512F. Half as large, which saves another 10 ms of about 100 per net."""

_BEYOND = "__m512bh"
"""A word of sources that need more than that."""


@dataclass(frozen=True, slots=True)
class Executable:
    """A driver program for one net, which shows `taps` of it."""

    path: Path
    interface: Interface
    runner: Runner
    flags: tuple[str, ...]
    warnings: str
    taps: tuple[Tap, ...] = ()


def fuzz_cache() -> BuildCache:
    """Where the tester keeps builds. Apart from what `nn512 run` uses every day: most nets are built once."""
    return default_cache("fuzz", limit_bytes=512 << 20)


@functools.cache
def _driver_texts() -> dict[str, str]:
    folder = resources.files("fuzz.run") / "driver"
    return {name: (folder / name).read_text("utf-8") for name in ("nn512_driver.h", *DRIVER_SOURCES)}


def _driver_objects(compiler: Compiler, flags: Sequence[str], cache: BuildCache) -> list[str]:
    """The net-independent parts of the driver, compiled once per compiler and flags."""
    texts = _driver_texts()
    objects = []
    for name in DRIVER_SOURCES:
        files = {"nn512_driver.h": texts["nn512_driver.h"], name: texts[name]}
        arguments = ("-std=gnu11", "-O2", "-pthread", *_WARNINGS, *flags, "-c", name)
        try:
            objects.append(str(build(compiler, files, arguments, Path(name).stem + ".o", cache=cache).path))
        except BuildError as error:  # no net has anything to do with it
            raise CannotRunError(f"{compiler.path} does not build the tester's own {name}: {error}") from error
    return objects


@functools.cache
def _linker_flags(compiler: Compiler, cache: BuildCache) -> tuple[str, ...]:
    """The option for a linker faster than the default one, if there is such a linker."""
    for linker in ("gold", "lld"):
        try:
            build(compiler, {"t.c": "int main(void) { return 0; }\n"}, [f"-fuse-ld={linker}", "t.c"], "t", cache=cache)
        except BuildError:
            continue
        return (f"-fuse-ld={linker}",)
    return ()


_FEATURE_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(_\w+_SOURCE\b(?:[ \t]+\w+)?)[ \t]*(?:/[*/].*)?$", re.MULTILINE)


def _feature_macros(source: str) -> str:
    """The lines `#define _..._SOURCE` of a source.

    They must come before the first header of the C library, so before the precompiled one as well.
    """
    return "".join(f"#define {macro}\n" for macro in _FEATURE_MACRO.findall(source))


_SYSTEM_HEADER = re.compile(r"^#include <[\w/]+\.h>\n", re.MULTILINE)


def _system_headers(header: str, source: str) -> str:
    """The lines of our own C that include headers of the system: a fixed set, and no macro before them changes any.

    Reading those of the C library takes gcc 5 to 10 of 75 ms of a small net.
    """
    return "".join(dict.fromkeys(_SYSTEM_HEADER.findall(source + header)))


@dataclass(frozen=True, slots=True)
class _Start:
    """How a build begins: options for the net's source, and objects that hold what it calls."""

    flags: tuple[str, ...]
    objects: tuple[str, ...] = ()


def net_options(runner: Runner, cache: BuildCache | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Options that compile a net for a runner quickly, and objects that hold what it calls. Raises CannotRunError."""
    if not runner.portable:
        return runner.net_flags, ()
    library = portable_library(runner.compiler, flags_of(runner.sanitizers), cache)
    return library.flags, (library.object,)


def _prepared(runner: Runner, options: Sequence[str], source: str, headers: str, cache: BuildCache) -> _Start:
    """The quickest start: portable intrinsics in a library; <immintrin.h> and `headers` precompiled."""
    net_flags, objects = net_options(runner, cache)
    flags = (*LANGUAGE_FLAGS, *net_flags, *options)
    return _Start((*flags, *_precompiled(runner, flags, source, headers, cache)), objects)


def _precompiled(runner: Runner, flags: Sequence[str], source: str, headers: str, cache: BuildCache) -> tuple[str, ...]:
    """Options that use <immintrin.h> and `headers` precompiled for a source; none where they do not build."""
    compiler, depends, macros = runner.compiler, runner.depends, _feature_macros(source)
    few = compiler.kind is CompilerKind.GCC and runner.net_flags == NATIVE_FLAGS and _BEYOND not in source
    for text in (_FEW_INTRINSICS, _INTRINSICS) if few else (_INTRINSICS,):
        files = {"start.h": macros + text + headers}
        try:
            match compiler.kind:
                case CompilerKind.GCC:
                    arguments = (*flags, "-x", "c-header", "start.h")
                    name, keep = "start.h.gch", ("start.h",)
                    made = build(compiler, files, arguments, name, cache=cache, keep=keep, depends=depends)
                    return ("-include", str(made.path.with_suffix("")))
                case CompilerKind.CLANG:
                    # Standard input, because clang insists on finding a file again where it was.
                    arguments = (*flags, "-x", "c-header", "-")
                    made = build(compiler, files, arguments, "start.pch", cache=cache, stdin="start.h", depends=depends)
                    return ("-include-pch", str(made.path))
                case _:
                    assert_never(compiler.kind)
        except BuildError:
            continue
    return ()


def build_net(
    graph: Graph | Interface,
    header: str,
    source: str,
    runner: Runner,
    *,
    flags: Sequence[str] = ("-O1",),
    strict: bool = True,
    precompile: bool = True,
    cache: BuildCache | None = None,
    taps: Sequence[Tap] = (),
    regions: Sequence[Region] = (),
) -> Executable:
    """The driver program for `<Prefix>.h` and `<Prefix>.c`, given as text.

    `taps` are tensors of the net's own that runs shall show, `regions` what its layers may touch of its memory; only
    what our compiler emits can show that.
    `flags` choose the optimization and anything else to vary. `strict` makes warnings errors: for our own code.
    `precompile`: with intrinsics that are compiled once, and headers that are read once, where that can be done.
    Raises BuildError ("does not build") with the compiler's text, CannotRunError where no compiler works.
    """
    interface = Interface.of(graph) if isinstance(graph, Graph) else graph
    cache = fuzz_cache() if cache is None else cache
    own_header, source_name = f"{interface.prefix}.h", f"{interface.prefix}.c"
    files = {
        own_header: header,
        source_name: source,
        "nn512_driver.h": _driver_texts()["nn512_driver.h"],
        UNIT: interface.shim(
            source_name,
            include_header=not interface.is_included(source),
            runs=f" *{interface.prefix}EngineRun(" in header,
            taps=taps,
            regions=regions,
        ),
    }
    is_gcc = runner.compiler.kind is CompilerKind.GCC
    warnings: tuple[str, ...] = (*STRICT_FLAGS, *(_SHADOWS if is_gcc else ())) if strict else _WARNINGS
    if strict and "-Og" in flags and is_gcc:
        warnings += _GUESSES
    if strict and runner.net_flags == NATIVE_FLAGS and not _UNOPTIMIZED.intersection(flags) and not runner.sanitizers:
        warnings += SMALL_FRAME_FLAGS
    options = (*flags, *warnings)
    if strict and _UNOPTIMIZED.intersection(flags) and not runner.sanitizers:
        options += _NO_UNWINDING
    plain = _Start((*LANGUAGE_FLAGS, *runner.net_flags, *options))
    headers = _system_headers(header, source) if strict else ""
    starts = (_prepared(runner, options, source, headers, cache), plain) if precompile else (plain,)
    sanitize = flags_of(runner.sanitizers)
    rest = (
        # For a source that includes its header with <>. After the system's, as a prefix may be "math".
        *("-idirafter", "."),
        *("-pipe", UNIT),
        *_driver_objects(runner.compiler, sanitize, cache),
        *(f"-Wl,--wrap={name}" for name in WRAPPED),
        *(() if runner.sanitizers else _linker_flags(runner.compiler, cache)),
        *runner.link_flags,
        "-lm",
    )
    arguments = [(*start.flags, *rest, *start.objects) for start in starts]
    try:
        built = build(runner.compiler, files, arguments[0], "driver", cache=cache, depends=runner.depends)
    except BuildError:
        # A precompiled header has its own reasons to fail: a system header has changed, its addresses are taken, or
        # it has too few intrinsics for code that is not ours.
        if starts[0] == plain:
            raise
        built = build(runner.compiler, files, arguments[-1], "driver", cache=cache, depends=runner.depends)
    return Executable(built.path, interface, runner, tuple(flags), built.warnings, tuple(taps))


def check_header(graph: Graph | Interface, header: str, runner: Runner, cache: BuildCache | None = None) -> None:
    """The header compiles on its own as C99 and C++98, also when included twice; BuildError where it does not."""
    prefix = graph.config.prefix if isinstance(graph, Graph) else graph.prefix
    cache = fuzz_cache() if cache is None else cache
    text = f'#include "{prefix}.h"\n#include "{prefix}.h"\n'
    for language, standard, name in (("c", "c99", "alone.c"), ("c++", "c++98", "alone.cpp")):
        arguments = ["-x", language, f"-std={standard}", *STRICT_FLAGS, "-c", name]
        build(runner.compiler, {f"{prefix}.h": header, name: text}, arguments, "alone.o", cache=cache)
