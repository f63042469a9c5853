"""Faults of the machine in the middle of work, told apart from faults of what it works on.

A disk that is full says nothing about a net, nor does a process that the system killed because memory ran out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from nn512.errors import NO_SPACE, MachineError

_EXHAUSTED = frozenset(
    {
        *(*NO_SPACE, errno.EROFS),
        *(errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE),
    }
)
"""Errors of a disk that takes no more, and of a system that gives no more memory, processes or open files."""

_NO_SPACE = re.compile("No space left on device|Disk quota exceeded|Input/output error|Read-only file system")
_KILLED = re.compile("Killed signal terminated program|terminated with signal 9|unable to execute command: Killed")
"""What gcc, its linker's driver, and clang say of a part of theirs that was killed."""

_NO_REASON = re.compile(
    r"collect2: error: ld returned \d+ exit status|collect2: fatal error: ld terminated with signal 7 .*"
    r"|\S+: error: linker command failed with exit code .*|compilation terminated\.|\s*"
)
"""Lines that say that something failed, and not why. What a linker said before is lost where the disk is full."""

_ROOM = 16 << 20
"""Bytes that must fit on the disk before a failure without a reason is not the disk's: a program has fewer."""


@contextlib.contextmanager
def machine_faults(what: str) -> Iterator[None]:
    """Within the block, errors that show a fault of the machine become a MachineError; `what` is what could not be."""
    try:
        yield
    except MemoryError as error:
        raise MachineError(f"{what}: out of memory") from error
    except OSError as error:
        # tempfile finds every directory full and says that there is none.
        if error.errno not in _EXHAUSTED and "temporary directory" not in str(error):
            raise
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        raise MachineError(f"{what}: {where}{error.strerror or error}") from error


def check_machine(program: str, status: int, text: str, given: Iterable[str], directory: Path) -> None:
    """MachineError if it is the machine's fault that a compiler failed.

    `status` and `text` are how it ended and what it wrote; `given` are its sources, in which the same words prove
    nothing; `directory` is where it worked, and put its temporary files.
    """
    killed = status == -signal.SIGKILL or (_KILLED.search(text) is not None)
    if killed and not any(_KILLED.search(source) for source in given):
        raise MachineError(f"the system killed {program}, most probably because memory ran out")
    silent = all(_NO_REASON.fullmatch(line) for line in text.splitlines())
    if _is_full(directory, _ROOM if silent else 4096):
        raise MachineError(f"{program} cannot write to {directory}: the disk is full, no space is left")
    said = _NO_SPACE.search(text)
    if said and not any(_NO_SPACE.search(source) for source in given):
        raise MachineError(f"{program} cannot write to {directory}: {said.group()}")


def _is_full(directory: Path, size: int) -> bool:
    """Whether so many bytes cannot be written, though what failed may have left room by now: it removes its files."""
    part = bytes(min(size, 1 << 20))
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            return any(file.write(part) < len(part) for _ in range(0, size, len(part)))
    except OSError as error:
        return error.errno in _EXHAUSTED
