"""The C compilers of this machine: asked for their names, and shown to build programs that run."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from nn512.errors import CannotRunError
from nn512.toolchain.building import CONTROL, CONTROL_FLAGS, CONTROL_TIMEOUT, Compiler, CompilerKind, build
from nn512.toolchain.processes import run_bounded

_OLDEST = {CompilerKind.GCC: 9, CompilerKind.CLANG: 14}
"""Versions that emitted code is for."""

_NEWEST = 40
"""No compiler has a higher number for years."""


def find_compiler(command: str | None = None) -> Compiler:
    """The compiler `command`, or that of $CC, or the first of gcc, clang and cc on the path.

    It has built a small program that runs. Raises CannotRunError, which says what to install or set, when none does.
    """
    if command is not None:
        return _ask_compiler(command, "the compiler asked for")
    if from_environment := os.environ.get("CC", "").strip():
        return _ask_compiler(from_environment, "the compiler in $CC")
    for candidate in ("gcc", "clang", "cc"):
        if shutil.which(candidate):
            return _ask_compiler(candidate, "the compiler on the path")
    raise CannotRunError("no C compiler: install gcc (at least 9) or clang (at least 14), or set CC")


def find_cross_compiler(command: str, wrapper: tuple[str, ...]) -> Compiler:
    """The compiler `command`, whose programs run behind the words of `wrapper`. Raises CannotRunError."""
    return _ask_compiler(command, "the cross compiler", wrapper)


def programs_of(kind: CompilerKind) -> tuple[str, ...]:
    """The commands of a family on the path: `clang`, then `clang-19` and older ones, as distributions number them.

    Several may be one program.
    """
    name = kind.value
    names = (name, *(f"{name}-{version}" for version in range(_NEWEST, _OLDEST[kind] - 1, -1)))
    return tuple(one for one in names if shutil.which(one))


def find_compilers() -> tuple[Compiler, ...]:
    """That of $CC, then a gcc and a clang where they are other programs.

    Raises CannotRunError where one of them does not work.
    """
    # Debian and its descendants may install clang under a numbered name alone.
    return _distinct([*programs_of(CompilerKind.GCC)[:1], *programs_of(CompilerKind.CLANG)[:1]])


def all_compilers() -> tuple[Compiler, ...]:
    """Every compiler at hand, each program once: that of $CC, then gcc and clang, and those with a number.

    Raises CannotRunError where one of them does not work.
    """
    return _distinct([name for kind in CompilerKind for name in programs_of(kind)])


def _distinct(commands: Sequence[str]) -> tuple[Compiler, ...]:
    """The compiler in $CC and those of commands, but for those that answer as one before."""
    candidates = [(command, "the compiler on the path") for command in commands]
    if from_environment := os.environ.get("CC", "").strip():
        candidates.insert(0, (from_environment, "the compiler in $CC"))
    found: dict[tuple[CompilerKind, str], Compiler] = {}
    for command, what in candidates:
        compiler = _ask_compiler(command, what)
        # gcc-12 tells its own name, with which it is gcc. A link is no sign: ccache has one program for all names.
        version = compiler.version.removeprefix(f"{Path(compiler.path).name} ")
        found.setdefault((compiler.kind, version), compiler)
    return tuple(found.values())


def _ask_compiler(command: str, what: str, wrapper: tuple[str, ...] = ()) -> Compiler:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CannotRunError(f"{what}, {command!r}, is not a command: {error}") from error
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise CannotRunError(f"{what}, {command!r}, is not on this machine")
    # The path is kept as the user wrote it: resolving links would turn `clang` into an unrelated-looking name.
    words[0] = str(Path(program).absolute())  # it is started in other directories
    return _answer(tuple(words), f"{what}, {command!r},", wrapper)


@functools.cache
def _answer(words: tuple[str, ...], what: str, wrapper: tuple[str, ...]) -> Compiler:
    """The compiler that these words start, asked once; what it is called where it does not work."""
    try:
        status, text, timed_out = run_bounded([*words, "--version"], timeout=30)
    except OSError as error:
        raise CannotRunError(f"{what} does not run: {error}") from error
    if status != 0 or timed_out or not text.strip():
        raise CannotRunError(f"{what} does not answer --version")
    kind = CompilerKind.CLANG if "clang" in text.lower() else CompilerKind.GCC
    compiler = Compiler(words, kind, text.splitlines()[0].strip())
    _check_programs_run(compiler, wrapper)
    return compiler


def _check_programs_run(compiler: Compiler, wrapper: tuple[str, ...]) -> None:
    """CannotRunError if the compiler does not build the control program, or that does not run."""
    flags = (*CONTROL_FLAGS, *(("-static",) if wrapper else ()))
    program = build(compiler, {"control.c": CONTROL}, flags, "control").path
    try:
        status, text, timed_out = run_bounded([*wrapper, str(program)], timeout=CONTROL_TIMEOUT)
    except OSError as error:
        status, text, timed_out = -1, str(error.strerror), False
    if timed_out or status != 0 or text != "works\n":
        what = "never ends" if timed_out else text.strip() or f"ended with {status}"
        raise CannotRunError(
            f"what the C compiler {shlex.join(compiler.command)} builds does not run here ({what}); set CC to one for "
            "this machine, or NN512_CACHE to a directory from which programs may be started"
        )
