"""Array files: round trips, and files that lie about what they hold."""

from __future__ import annotations

import io
import pickle
import stat
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nn512 import arrays
from nn512.arrays import load_array, load_arrays, save_arrays, write_file
from nn512.errors import UsageError

DTYPES: st.SearchStrategy[np.dtype[Any]] = st.sampled_from(
    [np.dtype(code) for code in ("f4", "f8", "i4", "u1", "?", ">f4")]
)
NUMBERS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name + ".npy", data)
    return file.getvalue()


@given(st.dictionaries(st.sampled_from(["a", "file", "self", "x1"]), NUMBERS))
def test_round_trip(arrays: dict[str, np.ndarray]) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{"k" + name: array for name, array in arrays.items()})
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.npz"
        save_arrays(path, arrays)
        ours, numpys = load_arrays(path), dict(np.load(path))
        path.write_bytes(file.getvalue())
        compressed = load_arrays(path)
    assert ours.keys() == numpys.keys() == arrays.keys()
    for name, array in arrays.items():
        for other in (ours[name], numpys[name], compressed["k" + name]):
            assert other.dtype == array.dtype
            np.testing.assert_array_equal(other, array)


def test_same_arrays_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_arrays(tmp_path / name, {"x": np.arange(5.0)})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_fortran_order(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(load_array(tmp_path / "x.npy"), array)


def test_skipped_names_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(
        npz(x=b"no array at all", y=npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", b"\0\0\0\0"))
    )
    arrays = load_arrays(tmp_path / "a.npz", {"y"})
    assert arrays["y"].shape == ()
    assert arrays["x"].size == 0


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an .npy array"),
        (b"hello", "not an .npy array"),
        (npy(GOOD, b"\0" * 7), "promises 8 bytes of numbers and has 7"),
        (npy(GOOD, b"\0" * 9), "promises 8 bytes of numbers and has 9"),
        (npy(GOOD.replace("2", str(1 << 62))), "promises"),
        (npy(GOOD.replace("2,", "-2,"), b""), "promises|broken"),
        (npy(GOOD.replace("<f4", "|O"), b"\0" * 16), "not plain numbers"),
        (npy(GOOD.replace("<f4", "|S4"), b"\0" * 8), "not plain numbers"),
        (npy(GOOD.replace("<f4", "<c8"), b"\0" * 16), "not plain numbers"),
        (npy(GOOD[:-1], b"\0" * 8), "broken"),
        (npy("[" * 5000), "broken"),
        (npy(GOOD, b"\0" * 8, version=b"\x09\x00"), "broken|version"),
        (np.lib.format.MAGIC_PREFIX + b"\x01\x00\xff\xff{", "broken"),
        (pickle.dumps([1, 2]), "not an .npy array"),
    ],
)
def test_broken_array_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(UsageError, match=message):
        load_array(tmp_path / "x.npy")
    (tmp_path / "x.npz").write_bytes(npz(weights=data))
    with pytest.raises(UsageError, match=rf"{message}|holds 'weights', which"):
        load_arrays(tmp_path / "x.npz")


def bomb() -> bytes:
    """A zip that unfolds into 64 MiB and whose directory says 100 GiB."""
    data = npz(x=npy(GOOD.replace("2,", f"{1 << 24},"), b"\0" * (1 << 26)))
    size = (1 << 26) + len(npy(GOOD.replace("2,", f"{1 << 24},")))
    return data.replace(struct.pack("<I", size), struct.pack("<I", 0xFFFFFFF0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an .npz file"),
        (npy(GOOD, b"\0" * 8), "single array"),
        (npz(x=npy(GOOD, b"\0" * 8))[:-5], "not an .npz file|broken"),
        (bomb(), "promises"),
    ],
)
def test_broken_archives(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(UsageError, match=message):
        load_arrays(tmp_path / "x.npz")


def test_any_damage_is_an_error_or_harmless(tmp_path: Path) -> None:
    """Every byte of a good file changed, one at a time: an error of ours, or an array."""
    good = npz(x=npy(GOOD, b"\1" * 8))
    refused = 0
    for position in range(len(good)):
        for flip in (0x01, 0x80):
            damaged = bytearray(good)
            damaged[position] ^= flip
            (tmp_path / "x.npz").write_bytes(damaged)
            try:
                load_arrays(tmp_path / "x.npz")
            except UsageError:
                refused += 1
    assert refused > len(good)


def test_two_arrays_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", npy(GOOD, b"\0" * 8))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", npy(GOOD, b"\0" * 8))
    with pytest.raises(UsageError, match="two arrays 'x'"):
        load_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["missing.npy", ".", "nul\0.npy"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    for load in (load_array, load_arrays):
        with pytest.raises(UsageError, match="cannot read"):
            load(tmp_path / name)


def test_interrupted_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with write_file(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with write_file(path) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    assert list(tmp_path.iterdir()) == [path]


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        save_arrays(tmp_path / "no" / "x.npz", {})
    with pytest.raises(UsageError, match="cannot write"):
        save_arrays(tmp_path, {})


def test_as_many_arrays_as_are_wanted_may_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A legal net of 32,768 nodes may have four parameters in each; what nobody asked for is still bounded."""
    monkeypatch.setattr(arrays, "MOST_ARRAYS", 2)
    save_arrays(tmp_path / "a.npz", {name: np.zeros(1) for name in "uvw"})
    assert load_arrays(tmp_path / "a.npz", {"u", "v", "w"}).keys() == {"u", "v", "w"}
    for wanted in (None, {"u"}):
        with pytest.raises(UsageError, match="more than 2 arrays"):
            load_arrays(tmp_path / "a.npz", wanted)
