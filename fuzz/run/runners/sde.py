"""Intel's Software Development Emulator, where it is installed: exact instructions on any x86 processor, slowly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fuzz.run.runners.base import Runner, Unavailable
from nn512.toolchain import NATIVE_FLAGS, Compiler, has_avx512

NAME = "sde"
MODEL = "-skx"
"""Skylake server: the first processor with AVX-512F, and nothing later that the code might use by mistake."""


def find_sde() -> str | None:
    """$NN512_SDE (the program), or sde64 in $SDE_PATH, or on the path."""
    if explicit := os.environ.get("NN512_SDE"):
        return shutil.which(explicit)
    if directory := os.environ.get("SDE_PATH"):
        return shutil.which("sde64", path=directory) or shutil.which(str(Path(directory) / "sde64"))
    return shutil.which("sde64")


def probe(compiler: Compiler) -> Runner | Unavailable:
    """The SDE runner, if SDE is there and runs an AVX-512 program."""
    program = find_sde()
    if program is None:
        return Unavailable(NAME, "no sde64: set NN512_SDE or SDE_PATH, or put sde64 on the path")
    wrapper = (program, MODEL, "--")
    if not has_avx512(compiler, wrapper):
        return Unavailable(NAME, f"{program} does not run a program with AVX-512F")
    return Runner(NAME, f"under {Path(program).name} {MODEL}", compiler, NATIVE_FLAGS, wrapper=wrapper, slowdown=50.0)
