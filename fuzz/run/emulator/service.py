"""The machine of this process: booted at the first job, tried with known answers, kept for all that follow."""

from __future__ import annotations

import atexit
import os
import sys

from fuzz.run.emulator.image import boot_image, emulator_cache
from fuzz.run.emulator.known import check_known_answers
from fuzz.run.emulator.machine import Emulator
from fuzz.run.emulator.parts import find_parts
from nn512.toolchain import Compiler

_running: list[Emulator] = []
"""The machine, if there is one."""


def emulator(compiler: Compiler) -> Emulator:
    """The machine of this process. Raises CannotRunError where parts are missing, or it does not boot, or is broken."""
    for made in _running:
        if made.owner == os.getpid() and made.alive:
            return made
    parts = find_parts()
    made = Emulator(parts, boot_image(parts, compiler))
    try:
        made.boot()
        for fault in check_known_answers(made.run, compiler, emulator_cache()):
            sys.stderr.write(f"bochs: a known fault of this emulator: {fault}\n")
    except BaseException:
        made.close()
        raise
    close()
    _running.append(made)
    return made


@atexit.register
def close() -> None:
    """End the machine of this process, if there is one."""
    while _running:
        made = _running.pop()
        if made.owner == os.getpid():  # a child that was forked off has a copy of this list
            made.close()
