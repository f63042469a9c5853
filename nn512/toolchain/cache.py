"""The build cache: files that a compiler made earlier, by the hash of everything that went into them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nn512.errors import CannotRunError

_ENTRY = "nn512-"
_KEY = re.compile(f"{_ENTRY}[0-9a-f]{{40}}")
_UNFINISHED = "tmp-nn512-"


@dataclass(frozen=True, slots=True)
class Built:
    """What one compiler run made: the file, and the warnings it gave."""

    path: Path
    warnings: str


def default_cache_directory() -> Path:
    """$NN512_CACHE, or `nn512` in $XDG_CACHE_HOME or ~/.cache, or a private directory among the temporary files."""
    if explicit := os.environ.get("NN512_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home / "nn512"
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.gettempdir()) / f"nn512-cache-{os.getuid()}"


class BuildCache:
    """Files built earlier, by the hash of everything that went into them. Safe for concurrent processes.

    An entry is a directory that appears by one rename, complete. Beyond `limit_bytes` the entries unused for longest
    are removed, though never one used within the last `grace` seconds: somebody may be about to open it.
    """

    def __init__(self, directory: Path | None = None, *, limit_bytes: int = 1 << 30, grace: float = 60.0) -> None:
        # Compilers and what they built are started in other directories.
        self.directory = (default_cache_directory() if directory is None else directory).absolute()
        self.limit_bytes, self.grace = limit_bytes, grace
        self._stores = 0
        self._make_directory()

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRunError(
                f"cannot make the build cache {self.directory}: {error.strerror}; set NN512_CACHE to a directory"
            ) from error
        if self.directory.stat().st_uid != os.getuid():
            raise CannotRunError(f"the build cache {self.directory} belongs to somebody else; set NN512_CACHE")

    @staticmethod
    def key(*parts: object) -> str:
        """Name of the entry made from `parts` (JSON-able values)."""
        return _ENTRY + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]

    def find(self, key: str, name: str) -> Built | None:
        """The file `name` of entry `key`, marked as used just now; None if there is none."""
        entry = self.directory / key
        try:
            os.utime(entry)
            log = entry / "log"
            warnings = log.read_text("utf-8", "replace") if log.exists() else ""
        except OSError:
            return None
        path = entry / name
        return Built(path, warnings) if path.exists() else None

    @staticmethod
    def mark(path: Path) -> None:
        """Mark the entry of a file as used just now: who uses one for longer than a moment does it again and again."""
        with contextlib.suppress(OSError):  # it is gone, as who opens it will find out
            os.utime(path.parent)

    def workspace(self) -> tempfile.TemporaryDirectory[str]:
        """A temporary directory beside the entries, so that a rename can make it one."""
        self._make_directory()  # a user may have removed it since
        return tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=self.directory, ignore_cleanup_errors=True)

    def store(self, key: str, made: Path) -> None:
        """Turn the directory `made` into entry `key`, unless another process was faster."""
        try:
            made.rename(self.directory / key)
        except OSError:
            if not (self.directory / key).is_dir():
                raise
        self._stores += 1
        if self._stores % 64 == 1:
            self.prune()

    def prune(self) -> None:
        """Remove the entries unused for longest until three quarters of the limit are kept.

        Whatever else is in the directory stays: a part of the cache with a limit of its own, or a user's files, if
        NN512_CACHE names a directory that has some.
        """
        now = time.time()
        entries = []
        try:
            found = list(self.directory.iterdir())
        except FileNotFoundError:
            return  # a user has removed it
        for entry in found:
            unfinished = entry.name.startswith(_UNFINISHED)
            if not unfinished and not _KEY.fullmatch(entry.name):
                continue
            try:
                used = entry.stat().st_mtime
                size = sum(file.stat().st_size for file in entry.iterdir())
            except OSError:
                continue  # removed by another process
            if unfinished and now - used > 24 * 3600:
                shutil.rmtree(entry, ignore_errors=True)  # left by a process that was killed
            elif not unfinished:
                entries.append((used, size, entry))
        total = sum(size for _, size, _ in entries)
        if total <= self.limit_bytes:
            return
        for used, size, entry in sorted(entries):
            if total <= self.limit_bytes * 3 // 4 or now - used < self.grace:
                break
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


@functools.cache
def _cache_at(directory: Path, limit_bytes: int) -> BuildCache:
    return BuildCache(directory, limit_bytes=limit_bytes)


def default_cache(part: str = "", limit_bytes: int = 1 << 30) -> BuildCache:
    """The cache of this user, or the part of it with that name, which has a limit of its own.

    The environment is asked at every call; there is one object per directory.
    """
    return _cache_at(default_cache_directory().absolute() / part, limit_bytes)
