"""Scratch folders that do not outlive the next run, even if their owner is killed.

A folder belongs to the process that has a lock on a file in it. The system gives up the lock however that process
ends, and whoever makes a scratch folder next removes those that nobody has locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LOCK = "lock"


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder among the temporary files, removed afterwards, with those that were left by processes that are gone."""
    parent = Path(tempfile.gettempdir())
    for folder in parent.glob(f"{prefix}*"):
        _remove_orphan(folder)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        # It is locked before it has its name: a file of that name without a lock has no owner any more.
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            Path(file.name).rename(folder / _LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_orphan(folder: Path) -> None:
    try:
        if folder.stat().st_uid != os.getuid():
            return
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return  # somebody else's, or just being made or removed
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def owned(lock: Path) -> Iterator[bool]:
    """Whether this process has what the file `lock` stands for to itself, as long as the block lasts."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:  # a file system without locks
            yield True
        else:
            yield True
    finally:
        os.close(descriptor)
