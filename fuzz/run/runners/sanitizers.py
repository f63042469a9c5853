"""Checks that compilers add to a build: which there are, what each takes, and whether a compiler has them here."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from nn512.errors import UsageError
from nn512.toolchain import BuildError, Compiler, CompilerKind, build, run_bounded


class Sanitizer(enum.Enum):
    """A check that a compiler builds in; the value is what users and compilers call it."""

    ADDRESS = "address"
    """Accesses outside of what was allocated, also by one lane of a masked load."""
    UNDEFINED = "undefined"
    """Signed overflow, misaligned vectors, shifts and indices out of range, and what else C does not define."""
    THREAD = "thread"
    """Accesses of two threads without an order between them."""
    MEMORY = "memory"
    """Decisions and results that depend on memory nobody has written. clang alone has it."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Compiler options, for compiling and linking alike."""
        flags = (f"-fsanitize={self.value}", "-fno-omit-frame-pointer", "-g1")
        return (*flags, "-fno-sanitize-recover=all") if self is Sanitizer.UNDEFINED else flags


SEPARATOR = "+"
"""Stands between a runner and its sanitizers, as in soft+address+undefined."""

_ALONE = (Sanitizer.ADDRESS, Sanitizer.THREAD, Sanitizer.MEMORY)
"""Of these a program has one: each wants the memory for itself."""

# The driver's own handlers name the tensor that a fault hit, which a sanitizer cannot. It counts leaks itself, too.
_COMMON = "handle_segv=0:handle_sigbus=0:handle_abort=0:exitcode=86"
_OPTIONS = MappingProxyType(
    {
        "ASAN_OPTIONS": f"{_COMMON}:detect_leaks=0:allocator_may_return_null=1",
        "MSAN_OPTIONS": f"{_COMMON}:allocator_may_return_null=1",
        "TSAN_OPTIONS": _COMMON,
        "UBSAN_OPTIONS": _COMMON,
    }
)


def sanitizers_of(names: Iterable[str]) -> tuple[Sanitizer, ...]:
    """The sanitizers with these names, each once. Raises UsageError for names that are none, or exclude each other."""
    known = {sanitizer.value: sanitizer for sanitizer in Sanitizer}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no sanitizer {name!r}; there are {', '.join(known)}")
    found = tuple(known[name] for name in dict.fromkeys(names))
    alone = [sanitizer.value for sanitizer in found if sanitizer in _ALONE]
    if len(alone) > 1:
        raise UsageError(f"a program has one of the sanitizers {' and '.join(alone)}, not both: run twice")
    return found


def flags_of(sanitizers: Iterable[Sanitizer]) -> tuple[str, ...]:
    """Compiler options for all of them."""
    return tuple(flag for sanitizer in sanitizers for flag in sanitizer.flags)


def environment_of(sanitizers: Iterable[Sanitizer]) -> Mapping[str, str]:
    """What programs with sanitizers find in their environment."""
    return _OPTIONS if tuple(sanitizers) else MappingProxyType({})


def told(sanitizers: Iterable[Sanitizer]) -> str:
    """For people: `, address and undefined sanitizer`; nothing for none."""
    names = " and ".join(sanitizer.value for sanitizer in sanitizers)
    return f", {names} sanitizer" if names else ""


@functools.cache
def why_missing(compiler: Compiler, sanitizers: tuple[Sanitizer, ...]) -> str:
    """Why programs of this compiler have no such sanitizers here; nothing where they have."""
    if not sanitizers:
        return ""
    try:
        arguments = [*flags_of(sanitizers), "empty.c"]
        program = build(compiler, {"empty.c": "int main(void) { return 0; }\n"}, arguments, "empty").path
        status, text, timed_out = run_bounded([str(program)], timeout=60)
    except BuildError as error:
        said = [line for line in error.text.splitlines() if "error" in line or "cannot find" in line] or [error.summary]
        return f"{compiler.version} does not build{told(sanitizers)[1:]}: {said[0].strip()}"
    if status == 0 and not timed_out:
        return ""
    return f"a program with{told(sanitizers)[1:]} does not run here: {(text.strip() or f'ended with {status}')[:200]}"


def runtime_advice(compiler: Compiler, reason: str) -> str:
    """How to get what `compiler` lacks where `reason` says that its linker did not find it: Debian packs it apart."""
    version = re.search(r"version (\d+)", compiler.version)
    if compiler.kind is not CompilerKind.CLANG or version is None or "libclang_rt" not in reason:
        return ""
    return f"its library is in a package: apt-get install libclang-rt-{version[1]}-dev"
