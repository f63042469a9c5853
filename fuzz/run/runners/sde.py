"""Intel's Software Development Emulator, where it is installed: exact instructions on any x86 processor, slowly."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from fuzz.run.runners.base import Runner, Unavailable
from nn512.toolchain import NATIVE_FLAGS, BuildError, Compiler, why_broken

NAME = "sde"
MODEL = "-skx"
"""Skylake server: the first processor with AVX-512F, and nothing later that the code might use by mistake."""


def find_sde() -> str | Unavailable:
    """$NN512_SDE (the program), or sde64 in $SDE_PATH, or on the path; or what is wrong with what is set."""
    reason = "no sde64: set NN512_SDE or SDE_PATH, or put sde64 on the path"
    if explicit := os.environ.get("NN512_SDE"):
        program, reason = shutil.which(explicit), f"NN512_SDE={explicit}: {_why_no_program(explicit)}"
    elif directory := os.environ.get("SDE_PATH"):
        program, reason = shutil.which("sde64", path=directory), f"SDE_PATH={directory}: no program sde64 is in it"
    else:
        program = shutil.which("sde64")
    # It is started in other directories.
    return Unavailable(NAME, reason) if program is None else str(Path(program).absolute())


def _why_no_program(value: str) -> str:
    if Path(value).is_dir():
        return "this is a directory, and must be the program sde64"
    if Path(value).is_file():
        return "this file may not be executed"
    return "there is no such file" if os.sep in value else "there is no such program on the path"


@functools.cache
def _why_broken(compiler: Compiler, wrapper: tuple[str, ...]) -> str:
    try:
        return why_broken(compiler, wrapper, (), avx512=True)
    except BuildError as error:
        return f"cannot be tried: {error.summary}"


def probe(compiler: Compiler) -> Runner | Unavailable:
    """The SDE runner, if SDE is there and runs an AVX-512 program."""
    program = find_sde()
    if isinstance(program, Unavailable):
        return program
    wrapper = (program, MODEL, "--")
    if broken := _why_broken(compiler, wrapper):
        return Unavailable(NAME, f"under {program} a program with AVX-512F {broken}")
    return Runner(NAME, f"under {Path(program).name} {MODEL}", compiler, NATIVE_FLAGS, wrapper=wrapper, slowdown=50.0)
