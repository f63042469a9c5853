"""Intrinsics in portable C, for processors without the instructions: a header, and a library of the same.

The header defines every intrinsic, and each net that includes it has the compiler translate those it uses once more.
In the library they are functions of an object of their own, optimized, and the header that comes with it declares them:
a build takes a small part of the time, and an unoptimized net runs nearly as fast as an optimized one.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn512.errors import CannotRunError
from nn512.toolchain.building import BuildError, Compiler, build
from nn512.toolchain.cache import BuildCache, default_cache
from nn512.toolchain.processor import has_fma

SOFT_INCLUDE = Path(__file__).resolve().parents[1] / "soft"
"""Directory whose <immintrin.h> defines the intrinsics in portable C."""

_FMA_FLAGS = ("-mfma",)
_HEADER = "immintrin.h"
_SOURCE = "portable.c"
_OBJECT = "portable.o"

_FUNCTION = re.compile(r"^SOFT_(?:INLINE|CALL) ((?:\w+ )+\*?(\w+)\([^{;]*\)) (?=\{)", re.MULTILINE)
"""The head of a definition: the declaration, and in it the name."""

_HINTS = frozenset(("_mm_pause",))
"""Functions that clang lets nobody define but in a header, because it has them itself."""


def soft_flags() -> tuple[str, ...]:
    """Flags that put the portable <immintrin.h> first. Raises CannotRunError when it is not installed."""
    return ("-I", str(_header().parent))


def soft_fingerprint() -> str:
    """Hash of the portable header, for the `depends` of a build that uses it."""
    digest = hashlib.sha256()
    for path in sorted(SOFT_INCLUDE.glob("*.h")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class PortableLibrary:
    """Options that compile a net for the functions of `object`, which is linked."""

    flags: tuple[str, ...]
    object: str


def portable_library(compiler: Compiler, flags: Sequence[str] = (), cache: BuildCache | None = None) -> PortableLibrary:
    """The portable intrinsics as an object of this compiler, and the folder of the header that declares them.

    `flags` are those of sanitizers, which see every access here as they do inside of a net. Where this processor has
    fused products of its own the object uses them: SqueezeNet takes a quarter of the time, and has the same bits.

    Raises CannotRunError where they are not installed, or the compiler does not build them.
    """
    cache = default_cache() if cache is None else cache
    flags = (*_FMA_FLAGS, *flags) if has_fma(compiler) else flags
    declarations, definitions = _texts()
    files = {_SOURCE: definitions, _HEADER: declarations}
    try:
        made = build(compiler, files, ("-std=c99", "-O3", *flags, "-c", _SOURCE), _OBJECT, cache=cache, keep=(_HEADER,))
    except BuildError as error:
        raise CannotRunError(f"{compiler.path} does not build the portable intrinsics: {error}") from error
    return PortableLibrary(("-I", str(made.path.parent), *flags), str(made.path))


def _header() -> Path:
    path = SOFT_INCLUDE / _HEADER
    if not path.is_file():
        raise CannotRunError(f"the portable intrinsics header is missing from {SOFT_INCLUDE}; reinstall nn512")
    return path


@functools.cache
def _texts() -> tuple[str, str]:
    """The header with declarations in place of intrinsics, and C that defines them for others."""
    text = _header().read_text("utf-8")
    declared, defined, position = [], [], 0
    for head in _FUNCTION.finditer(text):
        if not head[2].startswith("_mm") or head[2] in _HINTS:
            continue
        before, end = text[position : head.start()], _end_of_body(text, head.end())
        declared += [before, head[1], ";"]
        defined += [before, head[1], text[head.end(1) : end]]
        position = end
    return "".join([*declared, text[position:]]), "".join([*defined, text[position:]])


def _end_of_body(text: str, start: int) -> int:
    """Where the block ends that begins at `start`."""
    depth = 0
    for brace in re.compile("[{}]").finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    raise ValueError("a block is not closed")
