"""Tensors of ONNX files as arrays: sizes are compared with what is there before memory is taken for them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from nn512.arrays import Array
from nn512.graph.diagnostics import visible
from nn512.onnx.folding import TYPES

MOST_BYTES = 2**31 - 1
"""Largest tensor, in bytes."""

_BFLOAT16 = 16
_EXTERNAL = 1

_FIELDS: Mapping[int, str] = MappingProxyType(
    {1: "float_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}
)
"""Where numbers stand that are not raw bytes, by type; those of all other types are in int32_data."""


class BrokenError(Exception):
    """What is wrong with a model, for the message that names the file."""


class UnreadError(Exception):
    """What a model has that is not read, though the model may be sound; for the message that names the file."""


def text(value: object) -> str:
    """A text of a model; protobuf gives bytes where it is no UTF-8. Raises BrokenError there."""
    if not isinstance(value, str):
        raise BrokenError(f"a name is no text: {value!r:.60}")
    return value


def tensor_array(tensor: Any, folder: Path) -> Array:  # noqa: ANN401
    """The numbers of a tensor; those in another file are looked for in `folder` and below. Raises BrokenError."""
    name = f"tensor {visible(text(tensor.name))!r}"
    shape = tuple(tensor.dims)
    kind = tensor.data_type
    if kind not in TYPES and kind != _BFLOAT16:
        raise BrokenError(f"{name} has numbers of type {kind}, which are no plain numbers")
    if tensor.HasField("segment"):
        raise BrokenError(f"{name} is a segment of a tensor")
    dtype = np.dtype("uint16" if kind == _BFLOAT16 else TYPES[kind]).newbyteorder("<")
    if any(size < 0 for size in shape):
        raise BrokenError(f"{name} has a negative extent")
    count = prod(shape)
    if count * dtype.itemsize > MOST_BYTES:
        raise BrokenError(f"{name} is too large: {count * dtype.itemsize:,} bytes; the limit is {MOST_BYTES:,}")
    if tensor.data_location == _EXTERNAL:
        flat = _external(name, tensor, folder, count, dtype)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise BrokenError(f"{name} promises {count * dtype.itemsize:,} bytes and has {len(tensor.raw_data):,}")
        flat = np.frombuffer(tensor.raw_data, dtype)
    else:
        flat = _listed(name, tensor, kind, count, dtype)
    if kind == _BFLOAT16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(shape).astype(flat.dtype.newbyteorder("="), copy=False)


def _listed(name: str, tensor: Any, kind: int, count: int, dtype: np.dtype[Any]) -> Array:  # noqa: ANN401
    """Numbers that are written one by one; halves are written as the integers of their bits."""
    values = getattr(tensor, _FIELDS.get(kind, "int32_data"))
    if len(values) != count:
        raise BrokenError(f"{name} promises {count:,} numbers and has {len(values):,}")
    if kind == 10:
        return np.asarray(values, np.int64).astype(np.uint16).view(np.float16)
    return np.asarray(values, None if count else dtype).astype(dtype)


def _external(name: str, tensor: Any, folder: Path, count: int, dtype: np.dtype[Any]) -> Array:  # noqa: ANN401
    """Numbers in a file beside the model. It must be a plain file in the model's folder or below, links resolved."""
    where = {text(entry.key): text(entry.value) for entry in tensor.external_data}
    location = where.get("location", "")
    said = f"{name} is in the file {visible(location)!r}, "
    parts = Path(location).parts
    if not location or "\0" in location or Path(location).is_absolute() or ".." in parts or "\\" in location:
        raise BrokenError(f"{said}which is no file below the model's folder")
    size = count * dtype.itemsize
    try:
        offset, length = int(where.get("offset", "0")), int(where.get("length", str(size)))
    except ValueError:
        raise BrokenError(f"{said}at a place that is no number") from None
    if length != size:
        raise BrokenError(f"{name} promises {size:,} bytes and has {length:,}")
    try:
        path = (folder / location).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()):
            raise BrokenError(f"{said}which a link puts outside the model's folder")
        with open(path, "rb", opener=_without_waiting) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BrokenError(f"{said}which is no plain file")
            if offset < 0 or offset + size > found.st_size:
                raise BrokenError(f"{said}which is too short: {size:,} bytes at {offset:,} of {found.st_size:,}")
            stream.seek(offset)
            return np.frombuffer(stream.read(size), dtype)
    except (OSError, ValueError) as error:
        raise BrokenError(f"{said}which cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
