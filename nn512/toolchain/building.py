"""A compiler run over given sources, within bounds, unless the cache has what it would make."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nn512.errors import CannotRunError, Nn512Error
from nn512.toolchain.cache import BuildCache, Built, default_cache
from nn512.toolchain.machine import check_machine, machine_faults
from nn512.toolchain.processes import run_bounded

COMPILE_TIMEOUT = 300.0
"""Seconds after which a compiler run is given up (ResNet152 at -O2 takes well under a minute)."""

COMPILE_MEMORY_KIB = 6 << 20
"""Address space of one compiler process, in KiB."""


class BuildError(Nn512Error):
    """The C compiler refused a source; `text` is what it wrote, `command` what was run."""

    def __init__(self, summary: str, text: str, command: Sequence[str]) -> None:
        self.summary, self.text, self.command = summary, text, tuple(command)
        super().__init__(f"{summary}\n{shlex.join(command)}\n{text}".rstrip())


class CompilerKind(enum.Enum):
    """Family of a compiler; what differs is precompiled headers and sanitizer options."""

    GCC = "gcc"
    CLANG = "clang"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler that answered `--version`: the command that runs it, and the first line of its answer."""

    command: tuple[str, ...]
    kind: CompilerKind
    version: str

    @property
    def path(self) -> str:
        """The program (without leading arguments such as those in CC='gcc -m64')."""
        return self.command[0]


def build(
    compiler: Compiler,
    files: Mapping[str, str],
    arguments: Sequence[str],
    output: str,
    *,
    cache: BuildCache | None = None,
    keep: Sequence[str] = (),
    depends: Sequence[str] = (),
    stdin: str | None = None,
    timeout: float = COMPILE_TIMEOUT,
) -> Built:
    """Run the compiler over `files` (name to text) in a directory of their own, and keep `output` in the cache.

    `arguments` come between the compiler and `-o output`. What they refer to outside of `files` must be told in
    `depends` (any text that changes with it). `keep` names files that stay beside the output, `stdin` the one that
    is standard input.
    Raises BuildError with the compiler's text; CannotRunError when the compiler cannot be started, or fails as well on
    a program known to be right; MachineError when the disk is full or the compiler was killed.
    """
    cache = default_cache() if cache is None else cache
    key = cache.key(compiler.command, compiler.version, dict(files), list(arguments), output, list(keep), list(depends))
    found = cache.find(key, output)
    if found is not None:
        return found
    command = [*compiler.command, *arguments, "-o", f"entry/{output}"]
    what = f"cannot write to the build cache {cache.directory}"
    try:
        with machine_faults(what), cache.workspace() as directory:
            work = Path(directory)
            entry = work / "entry"
            entry.mkdir()
            for name, text in files.items():
                (work / name).write_text(text, "utf-8")
            given = work / stdin if stdin else None
            status, text, timed_out = run_bounded(
                command, timeout=timeout, cwd=work, stdin=given, memory_kib=COMPILE_MEMORY_KIB, temporary=work
            )
            if timed_out or status != 0 or not (entry / output).exists():
                if not timed_out:
                    check_machine(compiler.path, status, text, files.values(), work)
                _check_compiler(compiler, work / "control")
                late = f"the compiler did not finish within {timeout:g} s"
                raise BuildError(late if timed_out else "the C code does not build", text, command)
            for name in keep:
                (work / name).rename(entry / name)
            if text:
                (entry / "log").write_text(text, "utf-8")
            cache.store(key, entry)
    except OSError as error:
        raise CannotRunError(f"{what}: {error.strerror}") from error
    path = cache.directory / key / output
    return Built(path, text)


CONTROL = """\
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *run(void *this) {
    char **restrict class = this;
    puts(*class);
    return NULL;
}
int main(void) {
    pthread_t thread;
    char *word = "works";
    return pthread_create(&thread, NULL, run, &word) || pthread_join(thread, NULL);
}
"""
"""A program that every working C compiler builds, and none of C++: it uses what emitted code uses."""

CONTROL_FLAGS = ("-std=c99", "-pthread", "control.c")
CONTROL_TIMEOUT = 60.0


def _check_compiler(compiler: Compiler, work: Path) -> None:
    """CannotRunError if the compiler fails on the control program, too. Built anew in `work`, as compilers break."""
    work.mkdir()
    (work / "control.c").write_text(CONTROL, "utf-8")
    command = [*compiler.command, *CONTROL_FLAGS, "-o", "control"]
    status, text, timed_out = run_bounded(
        command, timeout=CONTROL_TIMEOUT, cwd=work, memory_kib=COMPILE_MEMORY_KIB, temporary=work
    )
    if timed_out or status != 0 or not (work / "control").exists():
        if not timed_out:
            check_machine(compiler.path, status, text, (), work)
        how = "does not finish" if timed_out else f"ends with {status}" if status else "writes no program"
        raise CannotRunError(
            f"the C compiler {shlex.join(compiler.command)} does not work: given a program of a few lines it {how}; "
            f"repair it, or set CC to another\n{text}".rstrip()
        )
