"""Files in .safetensors, sound and hostile: each is read, or refused with a message, in little time and memory."""

from __future__ import annotations

import json
import struct
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.errors import UsageError
from nn512.weights.safetensors import read_safetensors


def packed(header: object, data: bytes = b"") -> bytes:
    """A file of a header and what stands behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int = 0, end: int = 8, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    """What a header says of an array."""
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_types(file: Path) -> None:
    """Halves and bfloat16 are exact, doubles are rounded; an array of no axes and one of no elements."""
    arrays = {"half": np.array([1.5, -2], "<f2"), "double": np.array([[0.1]], "<f8"), "number": np.array(7, "<f4")}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in {**arrays, "brain": np.array([0x3FC0, 0xFF80], "<u2"), "none": np.empty((0, 3), "<f4")}.items():
        dtype = {"half": "F16", "double": "F64", "brain": "BF16"}.get(name, "F32")
        header[name] = entry(len(data), len(data) + array.nbytes, array.shape, dtype)
        data += array.tobytes()
    file.write_bytes(packed(header, data))
    read = {name: stored.read() for name, stored in read_safetensors(file).items()}
    assert read["half"].tolist() == [1.5, -2.0]
    assert read["double"].tolist() == [[np.float32(0.1)]]
    assert read["brain"].tolist() == [1.5, -np.inf]
    assert (read["number"].shape, read["none"].shape) == ((), (0, 3))
    assert {array.dtype for array in read.values()} == {np.dtype(np.float32)}


def test_integers_are_no_floats(file: Path) -> None:
    file.write_bytes(packed({"n": entry(0, 8, (1,), "I64")}, bytes(8)))
    assert not read_safetensors(file)["n"].is_float


def test_a_double_beyond_float32(file: Path) -> None:
    file.write_bytes(packed({"x": entry(0, 8, (1,), "F64")}, np.array([1e200]).tobytes()))
    with pytest.raises(UsageError, match="beyond the range of float32"):
        read_safetensors(file)["x"].read()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "its header would have 0 bytes"),
    "truncated length": (b"\x10\0\0", "its header would have 16 bytes"),
    "length of 2^63": (struct.pack("<Q", 1 << 63) + b"{}", "its header would have 9,223,372,036,854,775,808 bytes"),
    "truncated header": (packed({"x": entry()})[:-4], "its header would have"),
    "truncated data": (packed({"x": entry()}, bytes(7)), "lies at 0 to 8 of 7 bytes"),
    "no JSON": (packed(b"{x"), "is no JSON"),
    "no UTF-8": (packed(b'{"\xff": 1}'), "is no JSON"),
    "deep": (packed(b"[" * 100_000), "is no JSON"),
    "long number": (packed(b'{"x": ' + b"9" * 10_000 + b"}"), "is no JSON"),
    "list": (packed([1]), "is no JSON object"),
    "entry is a number": (packed({"x": 1}), "lacks a type, a shape or two offsets"),
    "three offsets": (packed({"x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0, 0]}}), "two offsets"),
    "unknown type": (packed({"x": entry(dtype="F33")}, bytes(8)), "a type or a shape that there is not"),
    "type of a list": (packed({"x": entry(dtype=[])}, bytes(8)), "a type or a shape that there is not"),
    "shape is a number": (packed({"x": entry(shape=2)}, bytes(8)), "a type or a shape that there is not"),
    "negative extents": (packed({"x": entry(shape=(-2, -1))}, bytes(8)), "no natural numbers"),
    "extent is a truth": (packed({"x": entry(0, 4, (True,))}, bytes(4)), "no natural numbers"),
    "huge extents": (packed({"x": entry(shape=(1 << 62, 4))}, bytes(8)), "needs 73,786,976,294,838,206,464 bytes"),
    "offsets turned round": (packed({"x": entry(8, 0)}, bytes(8)), "lies at 8 to 0"),
    "too small": (packed({"x": entry(0, 4)}, bytes(4)), "needs 8 bytes and has 4"),
    "overlapping": (packed({"x": entry(), "y": entry(4, 12)}, bytes(12)), "array 'y' overlaps another"),
    "the same bytes twice": (packed({"x": entry(), "y": entry()}, bytes(8)), "array 'y' overlaps another"),
    "gap": (packed({"x": entry(), "y": entry(9, 17)}, bytes(17)), "array 'y' lies behind a gap"),
    "bytes behind": (packed({"x": entry()}, bytes(9)), "1 bytes at its end belong to no array"),
    "a name twice": (packed(b'{"x": 1, "x": 2}'), "a name stands twice"),
    "name of controls": (packed({"\x1b[2J": 1}), r"'\?\[2J'"),
    "many arrays": (packed({str(i): 0 for i in range(100_001)}), "more than 100,000 arrays"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, file: Path) -> None:
    data, message = HOSTILE[name]
    file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(UsageError, match=message) as caught:
        read_safetensors(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
    assert "model.safetensors' is no sound .safetensors file" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_long_header_is_not_read(file: Path) -> None:
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", 100 << 20))
        stream.truncate(200 << 20)
    with pytest.raises(UsageError, match="the limit is"):
        read_safetensors(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_safetensors(tmp_path / "no.safetensors")
    with pytest.raises(UsageError, match="cannot read"):
        read_safetensors("a\0b.safetensors")


def test_a_file_that_shrinks(file: Path) -> None:
    file.write_bytes(packed({"x": entry()}, bytes(8)))
    stored = read_safetensors(file)["x"]
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="has become shorter"):
        stored.read()


SOUND = packed({"a.weight": entry(0, 16, (2, 2)), "b": entry(16, 24)}, bytes(range(24)))


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 8))
def test_mutated_files(changes: list[tuple[int, int]], cut: int) -> None:
    """Either an error, or arrays that can be read."""
    data = bytearray(SOUND)
    for at, byte in changes:
        data[at] = byte
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(data[: len(data) - cut])
        file.flush()
        try:
            arrays = read_safetensors(file.name)
            for stored in arrays.values():
                if stored.is_float:
                    assert stored.read().shape == stored.shape
        except UsageError:
            pass
