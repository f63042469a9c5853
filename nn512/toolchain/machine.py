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
    if _is_full(directory):
        raise MachineError(f"{program} cannot write to {directory}: the disk is full")
    said = _NO_SPACE.search(text)
    if said and not any(_NO_SPACE.search(source) for source in given):
        raise MachineError(f"{program} cannot write to {directory}: {said.group()}")


def _is_full(directory: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            return file.write(bytes(4096)) < 4096
    except OSError as error:
        return error.errno in _EXHAUSTED
