"""Another processor: portable intrinsics built for 64-bit Arm by Debian's cross compiler, and run by qemu-user.

What is found only there depends on x86: the order of memory, alignment, conversions out of range.
"""

from __future__ import annotations

import shutil

from fuzz.run.runners.base import Runner, Unavailable
from nn512.errors import CannotRunError
from nn512.toolchain import Compiler, find_cross_compiler, soft_fingerprint, soft_flags

NAME = "aarch64"

_COMPILER = "aarch64-linux-gnu-gcc"
_EMULATOR = "qemu-aarch64"
_PACKAGES = {"gcc-aarch64-linux-gnu": _COMPILER, "qemu-user": _EMULATOR}
"""Debian's packages and a program of each."""


def probe(compiler: Compiler) -> Runner | Unavailable:
    """The runner, if the cross compiler is there and qemu runs what it builds; this machine's compiler is not asked."""
    del compiler
    missing = [package for package, program in _PACKAGES.items() if shutil.which(program) is None]
    if missing:
        return Unavailable(NAME, f"apt-get install {' '.join(missing)}")
    wrapper = (shutil.which(_EMULATOR) or _EMULATOR,)
    try:
        cross = find_cross_compiler(_COMPILER, wrapper)
        flags = soft_flags()
    except CannotRunError as error:
        return Unavailable(NAME, str(error))
    return Runner(
        NAME,
        "intrinsics in portable C on 64-bit Arm, in qemu",
        cross,
        flags,
        shows="the C, on Arm",
        depends=(soft_fingerprint(),),
        wrapper=wrapper,
        link_flags=("-static",),
        slowdown=100.0,
        bfloat16=True,
        portable=True,
    )
