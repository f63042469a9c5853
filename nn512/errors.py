"""Every exception a user of nn512 can see. Each says who is at fault and what to do about it."""

from __future__ import annotations

import errno

NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
"""Errors of a device that takes no more output."""


def install(extra: str) -> str:
    """What makes the packages of an extra available; nn512 itself is in no package index."""
    return f"pip install '.[{extra}]' in a checkout of nn512"


INSTALL_PEERS = install("peers")


class Nn512Error(Exception):
    """Base of all errors of this project that a user can see; `exit_code` is what the command line ends with."""

    exit_code = 70


class UsageError(Nn512Error):
    """The caller asked for something that makes no sense: a wrong name, shape, type, option or file."""

    exit_code = 2


class CannotRunError(Nn512Error):
    """This machine lacks something: a C compiler, the instructions, an emulator."""

    exit_code = 3


class MachineError(CannotRunError):
    """This machine failed in the middle of work: a full disk, no memory left, a process that was killed."""


def cannot_write(where: object, error: Exception, hint: str = "") -> UsageError | MachineError:
    """The error for a file or folder that cannot be written: the device's fault where that is full, or the caller's."""
    text = f"cannot write {where}: {getattr(error, 'strerror', None) or error}{hint}"
    return MachineError(text) if getattr(error, "errno", None) in NO_SPACE else UsageError(text)


class InternalError(Nn512Error):
    """A fault of nn512 itself; please report it with the input that showed it."""

    exit_code = 70
