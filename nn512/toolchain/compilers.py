"""The C compilers of this machine: asked for their names, and shown to build programs that run."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
from pathlib import Path

from nn512.errors import CannotRunError
from nn512.toolchain.building import CONTROL, CONTROL_FLAGS, CONTROL_TIMEOUT, Compiler, CompilerKind, build
from nn512.toolchain.processes import run_bounded

# Debian and its descendants may install clang under these names alone.
_NUMBERED_CLANGS = tuple(f"clang-{version}" for version in range(24, 13, -1))


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


def find_compilers() -> tuple[Compiler, ...]:
    """Every compiler at hand: that of $CC, then gcc and clang where they are other programs.

    Raises CannotRunError where one of them does not work.
    """
    found: dict[tuple[CompilerKind, str], Compiler] = {}
    clang = next((name for name in ("clang", *_NUMBERED_CLANGS) if shutil.which(name)), "clang")
    candidates = [(name, "the compiler on the path") for name in ("gcc", clang) if shutil.which(name)]
    if from_environment := os.environ.get("CC", "").strip():
        candidates.insert(0, (from_environment, "the compiler in $CC"))
    for command, what in candidates:
        compiler = _ask_compiler(command, what)
        found.setdefault((compiler.kind, compiler.version), compiler)
    return tuple(found.values())


@functools.cache
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
    try:
        status, text, timed_out = run_bounded([*words, "--version"], timeout=30)
    except OSError as error:
        raise CannotRunError(f"{what}, {command!r}, does not run: {error}") from error
    if status != 0 or timed_out or not text.strip():
        raise CannotRunError(f"{what}, {command!r}, does not answer --version")
    kind = CompilerKind.CLANG if "clang" in text.lower() else CompilerKind.GCC
    compiler = Compiler(tuple(words), kind, text.splitlines()[0].strip())
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
