"""Bochs, an emulator that needs no AVX-512 and no particular processor: the machine code itself, very slowly.

The first case boots a machine; it serves all that follow (fuzz/run/emulator).
"""

from __future__ import annotations

from pathlib import Path

from fuzz.run.emulator.machine import MODEL
from fuzz.run.emulator.parts import find_parts
from fuzz.run.emulator.service import emulator
from fuzz.run.ended import Ended
from fuzz.run.runners.base import Runner, Unavailable
from nn512.errors import CannotRunError
from nn512.toolchain import NATIVE_FLAGS, Compiler

NAME = "bochs"

_STATIC = ("-static", "-s")
"""There are no libraries inside, and what nobody reads need not be handed over."""


def probe(compiler: Compiler) -> Runner | Unavailable:
    """The Bochs runner, if everything is there that the emulator takes. The boot comes with the first case."""
    try:
        find_parts()
    except CannotRunError as error:
        return Unavailable(NAME, str(error))
    return Runner(
        NAME,
        f"machine {MODEL} in Bochs, which boots first",
        compiler,
        NATIVE_FLAGS,
        machine=_run,
        link_flags=_STATIC,
        slowdown=20.0,
    )


def _run(compiler: Compiler, program: Path, job: bytes, limit: float) -> Ended:
    return emulator(compiler).run(program.read_bytes(), job, limit)
