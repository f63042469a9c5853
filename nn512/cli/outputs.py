"""Whether a result could be written, asked before the work that makes it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nn512.errors import cannot_write


def check_file(path: Path) -> None:
    """UsageError or MachineError if no file could be written under this name. Nothing is left there."""
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        if path.exists() and not path.is_file():  # a device or a pipe, which opening might block
            if not os.access(path, os.W_OK):
                raise PermissionError(None, "Permission denied")
            return
        _try_making_a_file(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise cannot_write(repr(str(path)), error) from error


def check_directory(path: Path, option: str = "", files: Sequence[str] = ()) -> None:
    """UsageError or MachineError if no file could be written into this directory, which may be missing. It is not made.

    `option` is what names another one on the command line, `files` are what will be written or replaced there.
    """
    try:
        existing = path.absolute()
        while not os.path.lexists(existing):
            existing = existing.parent
        if not existing.is_dir():
            raise NotADirectoryError(None, f"{str(existing)!r} is no directory")
        for name in files:
            if (path / name).is_dir():
                raise IsADirectoryError(None, f"{name!r} is a directory there")
        _try_making_a_file(existing)
    except (OSError, ValueError) as error:
        hint = f"; {option} names another directory" if option else ""
        raise cannot_write(f"to {str(path)!r}", error, hint) from error


def _try_making_a_file(directory: Path) -> None:
    """Make a file in a directory and remove it: permission bits do not tell of read-only and full file systems."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".nn512-", buffering=0) as file:
        file.write(bytes(4096))  # a full disk takes a name, but no bytes
