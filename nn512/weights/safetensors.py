"""Reads .safetensors: a header in JSON that says where every array lies, and behind it nothing but their bytes.

The format is that of huggingface/safetensors: 8 bytes with the length of the header, the header, the data. It is read
here rather than by the package of that name because it is so little, and because the package hands numpy no bfloat16.
Everything the header says is checked against the size of the file before any memory is taken for it.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nn512.arrays import MOST_ARRAYS, Array, PathLike
from nn512.errors import UsageError
from nn512.weights.stored import Single, Stored, show_name, to_single

MOST_HEADER = 64 << 20
"""Longest header that is read; that of a net with 1,000 arrays has 100 kB."""

_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16}
_BITS |= {"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64}
_FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
"""The element types that become parameters, and how numpy reads them; bfloat16 is the upper half of a float32."""


class _BrokenError(Exception):
    """What is wrong with a file, for the message that names it."""


def read_safetensors(path: PathLike) -> dict[str, Stored]:
    """The arrays of a file by name. Raises UsageError for a file that cannot be read or is broken."""
    name = os.fspath(path)
    try:
        return _read(path)
    except _BrokenError as error:
        raise UsageError(f"{name!r} is no sound .safetensors file: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise UsageError(f"cannot read {name!r}: {getattr(error, 'strerror', None) or error}") from error


def _read(path: PathLike) -> dict[str, Stored]:
    with Path(path).open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise _BrokenError(f"its header would have {length:,} bytes, the file has {size:,}")
        if length > MOST_HEADER:
            raise _BrokenError(f"its header has {length:,} bytes; the limit is {MOST_HEADER:,}")
        header = _parse(stream.read(length))
    start = 8 + length
    spans, arrays = [], {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        type_, shape, begin, end = _checked(name, entry, size - start)
        spans.append((begin, end, name))
        read = partial(_array, path, start + begin, type_, shape)
        arrays[name] = Stored(shape, type_, type_ in _FLOATS, read)
    last = 0
    for begin, end, name in sorted(spans):
        if begin != last:
            raise _BrokenError(f"array {show_name(name)} {'overlaps another' if begin < last else 'lies behind a gap'}")
        last = end
    if last != size - start:
        raise _BrokenError(f"{size - start - last:,} bytes at its end belong to no array")
    return arrays


def _parse(text: bytes) -> dict[str, Any]:
    """The header: names and what is said of them."""
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise _BrokenError(f"its header is no JSON: {str(error)[:200]}") from error
    if not isinstance(header, dict):
        raise _BrokenError("its header is no JSON object")
    if len(header) > MOST_ARRAYS:
        raise _BrokenError(f"it holds more than {MOST_ARRAYS:,} arrays")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _BrokenError("a name stands twice in its header")
    return found


def _checked(name: str, entry: Any, room: int) -> tuple[str, tuple[int, ...], int, int]:  # noqa: ANN401 - out of JSON
    """Type, shape, beginning and end of an array, all of which fit together and into `room` bytes."""
    try:
        type_, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _BrokenError(f"array {show_name(name)} lacks a type, a shape or two offsets") from error
    if not isinstance(type_, str) or type_ not in _BITS or not isinstance(shape, list):
        raise _BrokenError(f"array {show_name(name)} has a type or a shape that there is not")
    if any(type(number) is not int or not 0 <= number <= sys.maxsize for number in (*shape, begin, end)):
        raise _BrokenError(f"array {show_name(name)} has a shape or offsets that are no natural numbers")
    if not begin <= end <= room:
        raise _BrokenError(f"array {show_name(name)} lies at {begin:,} to {end:,} of {room:,} bytes")
    told = prod(shape) * _BITS[type_] // 8
    if told != end - begin:
        raise _BrokenError(f"array {show_name(name)} needs {told:,} bytes and has {end - begin:,}")
    return type_, tuple(shape), begin, end


def _array(path: PathLike, at: int, type_: str, shape: tuple[int, ...]) -> Single:
    """The numbers of one array."""
    try:
        read: Array = np.fromfile(path, _FLOATS[type_], prod(shape), offset=at)
    except OSError as error:
        raise UsageError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error
    if read.size != prod(shape):
        raise UsageError(f"{os.fspath(path)!r} has become shorter")
    if type_ == "BF16":
        read = (read.astype(np.uint32) << 16).view(np.float32)
    return to_single(read.reshape(shape))
