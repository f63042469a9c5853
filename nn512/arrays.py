"""Numpy arrays from files that nobody vouches for: `.npy` and `.npz`, without pickles and within bounds.

Sizes are compared with what the file can hold before memory is taken for them, so neither a header that promises
terabytes nor a zip that unfolds into them costs more than a message.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

import numpy as np

from nn512.errors import Nn512Error, UsageError, cannot_write

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
PathLike: TypeAlias = str | os.PathLike[str]
_T = TypeVar("_T")

MOST_BYTES = 16 << 30
"""Most bytes that all arrays of one file, or all parameters of one graph in memory, may take."""

MOST_ARRAYS = 100_000
"""Arrays in one file of which nobody says how many there should be."""

_MOST_HEADER = 4096


class _BadFileError(Exception):
    """What is wrong with a file, for the message that names it."""


def load_array(path: PathLike) -> Array:
    """The array in a `.npy` file. Raises UsageError for a file that is missing, broken, or not plain numbers."""
    with _reading(path) as stream:
        return _checked(path, lambda: _read_array(stream, os.fstat(stream.fileno()).st_size))


def load_arrays(path: PathLike, wanted: Collection[str] | None = None) -> dict[str, Array]:
    """The arrays of an `.npz` file by name; names that are not `wanted` are skipped unread and come as empty arrays.

    Without `wanted` all are read. However many are wanted, a file may hold them.

    Raises UsageError for a file that is missing, broken, too large, or holds anything but plain numbers.
    """
    with _reading(path) as stream:
        return _checked(path, lambda: _read_archive(stream, wanted))


def save_arrays(path: PathLike, arrays: Mapping[str, Array]) -> None:
    """Write an uncompressed `.npz`; the same arrays give the same bytes."""
    with write_file(path) as stream:
        write_arrays(stream, arrays)


def write_arrays(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write an uncompressed `.npz` to a stream."""
    # numpy takes the arrays as keyword arguments, among which `file` would be its own.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


class write_file:  # noqa: N801 - used like open()
    """A file opened for writing bytes that appears under its name, complete, when the `with` block ends well.

    Raises UsageError where it cannot be written.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> IO[bytes]:
        try:
            if self.path.exists() and not self.path.is_file():  # a device or pipe, such as /dev/stdout
                self._stream = self.path.open("wb")
            else:
                self._stream = tempfile.NamedTemporaryFile(
                    dir=self.path.parent, prefix=f".{self.path.name}.", delete=False
                )
        except (OSError, ValueError) as error:
            raise self._refusal(error) from error
        return self._stream

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        assert self._stream is not None
        temporary = None if self._stream.name == str(self.path) else Path(self._stream.name)
        try:
            self._stream.close()
            if kind is None and temporary is not None:
                # Temporary files are private; give the result the permissions of any new file.
                mask = os.umask(0)
                os.umask(mask)
                temporary.chmod(0o666 & ~mask)
                temporary.replace(self.path)
        except OSError as failure:
            raise self._refusal(failure) from failure
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> Nn512Error:
        return cannot_write(repr(str(self.path)), error)


def write_together(*files: tuple[PathLike, Callable[[IO[bytes]], object]]) -> None:
    """Write several files, each by its function of a stream; none takes its name before all are complete.

    Raises UsageError or MachineError where one cannot be written; what was there before stays then.
    """
    with contextlib.ExitStack() as stack:
        for path, write in files:
            stream = stack.enter_context(write_file(path))
            write(stream)
            stream.flush()


def _reading(path: PathLike) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        message = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {os.fspath(path)!r}: {message}") from error


def _checked(path: PathLike, read: Callable[[], _T]) -> _T:
    """What `read` returns; whatever a broken file makes it raise becomes a UsageError."""
    try:
        return read()
    except _BadFileError as error:
        raise UsageError(f"{os.fspath(path)!r} {error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{os.fspath(path)!r} is broken: {error}") from error
    except MemoryError as error:
        raise UsageError(f"{os.fspath(path)!r} does not fit into memory") from error
    except OSError as error:
        raise UsageError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error


def _read_archive(stream: IO[bytes], wanted: Collection[str] | None) -> dict[str, Array]:
    if stream.read(6) == np.lib.format.MAGIC_PREFIX:
        raise _BadFileError("is a single array (.npy); a file of named arrays (.npz) is needed")
    stream.seek(0)
    if not zipfile.is_zipfile(stream):
        raise _BadFileError("is not an .npz file")
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        most = MOST_ARRAYS if wanted is None else max(MOST_ARRAYS, len(wanted))
        if len(members) > most:
            raise _BadFileError(f"holds more than {most:,} arrays")
        names = [member.filename.removesuffix(".npy") for member in members]
        read = [m for m, name in zip(members, names, strict=True) if wanted is None or name in wanted]
        total = sum(member.file_size for member in read)
        if total > MOST_BYTES:
            raise _BadFileError(f"holds {total:,} bytes of arrays; the limit is {MOST_BYTES:,}")
        for member, name in zip(members, names, strict=True):
            if name in arrays:
                raise _BadFileError(f"holds two arrays {name!r}")
            if wanted is not None and name not in wanted:
                arrays[name] = np.empty(0, np.float32)
                continue
            with archive.open(member) as opened:
                try:
                    arrays[name] = _read_array(opened, member.file_size)
                except _BadFileError as error:
                    raise _BadFileError(f"holds {name!r}, which {error}") from error
    return arrays


def _read_array(stream: IO[bytes], size: int) -> Array:
    """The array in a stream of `size` bytes."""
    start = stream.tell()
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise _BadFileError("is not an .npy array")
    stream.seek(start)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise _BadFileError(f"is of .npy version {version[0]}.{version[1]}, which is not for plain numbers")
    try:
        shape, fortran, dtype = readers[version](stream, max_header_size=_MOST_HEADER)
    except Exception as error:  # a header is Python text, and its parser raises a dozen kinds of errors
        raise _BadFileError(f"has a broken header: {error}") from error
    if dtype.hasobject or dtype.kind not in "biuf":
        raise _BadFileError(f"holds {dtype}, not plain numbers")
    told, held = prod(shape) * dtype.itemsize, size - (stream.tell() - start)
    if told != held:
        raise _BadFileError(f"promises {told:,} bytes of numbers and has {held:,}")
    if told > MOST_BYTES:
        raise _BadFileError(f"holds {told:,} bytes; the limit is {MOST_BYTES:,}")
    array = np.empty(shape[::-1] if fortran else shape, dtype)
    memory = array.reshape(-1).view(np.uint8)
    done = 0
    while done < told:
        piece = stream.read(min(told - done, 1 << 20))
        if not piece:
            raise _BadFileError("ends too early")
        memory[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    stream.read(1)  # a zip member checks its sum when it has been read to the end
    return array.T if fortran else array
