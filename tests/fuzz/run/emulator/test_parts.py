"""What the emulator takes: found, kept, or said to be missing together with how to get it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import resource
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fuzz.run.emulator import image, parts
from nn512.cli import main
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.toolchain import find_compiler

SECTORS = 2
PARAGRAPHS = 32
NOISE = np.random.default_rng(0).bytes(1 << 17)
"""What does not compress, and takes more than one read."""
PACKINGS: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "gz": gzip.compress, "bz2": bz2.compress}


def kernel(flags: int = 1, version: int = 0x20F, paragraphs: int = PARAGRAPHS) -> bytes:
    """What a boot loader reads of a kernel, and as many bytes as it says."""
    data = bytearray((SECTORS + 1) * 512 + paragraphs * 16)
    data[0x1F1] = SECTORS
    data[0x1F4:0x1F8] = paragraphs.to_bytes(4, "little")
    data[0x202:0x206] = b"HdrS"
    data[0x206:0x208] = version.to_bytes(2, "little")
    data[0x236] = flags
    return bytes(data)


def packed(content: bytes, name: str = "./boot/vmlinuz-6.1.0-1-cloud-amd64", packing: str = "xz") -> bytes:
    """An archive with one file, and another one behind it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for called, data in ((name, content), ("./usr/share/noise", NOISE)):
            entry = tarfile.TarInfo(called)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return PACKINGS[packing](stream.getvalue())


def package(
    content: bytes, name: str = "./boot/vmlinuz-6.1.0-1-cloud-amd64", member: str = "data.tar.xz", archive: bytes = b""
) -> bytes:
    """A Debian package with one file in it, and another; or with a given archive."""
    made = b"!<arch>\n"
    for called, data in (("debian-binary", b"2.0\n"), ("odd", b"xyz"), (member, archive or packed(content, name))):
        head = f"{called:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        made += head + data + b"\n" * (len(data) % 2)
    return made


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN512_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["x.deb", "vmlinuz-6.1.0-1-cloud-amd64", "bzImage"])
def test_a_given_kernel_is_kept_and_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(package(kernel()) if name.endswith("deb") else kernel())
    kept = parts.keep_kernel(tmp_path / name)
    assert kept.read_bytes() == kernel()
    assert kept.name == ("vmlinuz-bzImage" if name == "bzImage" else "vmlinuz-6.1.0-1-cloud-amd64")
    assert parts.find_kernel() == kept


def test_the_last_kernel_given_is_taken(tmp_path: Path) -> None:
    for name in ("vmlinuz-2", "vmlinuz-1"):
        (tmp_path / name).write_bytes(kernel())
        parts.keep_kernel(tmp_path / name)
    found = parts.find_kernel()
    assert found is not None
    assert found.name == "vmlinuz-1"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "neither a Linux kernel"),
        (b"\x7fELF" + bytes(2000), "neither a Linux kernel"),
        (kernel(flags=0), "neither a Linux kernel"),
        (kernel(version=0x20B), "neither a Linux kernel"),
        (package(b"not a kernel"), "neither a Linux kernel"),
        (package(kernel(), name="./usr/bin/true"), "has no /boot/vmlinuz"),
        (package(kernel(), member="control.tar.xz"), "has no /boot/vmlinuz"),
        (package(kernel())[:300], "cannot read data.tar.xz in it"),
        (package(kernel(), member="data.tar.zst")[:290], "dpkg -x FILE DIR"),
        (b"!<arch>\n" + b"x" * 60, "has no /boot/vmlinuz"),
    ],
)
def test_a_file_that_is_no_kernel_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "given"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=re.escape(str(file)) + ".*" + re.escape(says)):
        parts.keep_kernel(file)
    assert not list(parts.kernel_directory().glob("*"))


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("part", ["in the middle", "last", "cut off"])
def test_a_damaged_package_is_refused(tmp_path: Path, packing: str, part: str) -> None:
    """Whatever stands there of the kernel: it may be whole, and yet be another's bytes."""
    archive = bytearray(packed(kernel(), packing=packing))
    match part:
        case "in the middle":
            archive[len(archive) // 2] ^= 0xFF
        case "last":
            archive[-6] ^= 0xFF  # in what is written behind all else to check it
        case _:
            del archive[-40:]
    file = tmp_path / "damaged.deb"
    member = f"data.tar.{packing}"
    file.write_bytes(package(b"", member=member, archive=bytes(archive)))
    with pytest.raises(UsageError, match=re.escape(str(file)) + f": cannot read {member} in it, which is damaged"):
        parts.keep_kernel(file)


@pytest.mark.parametrize("short", [1, 16 * PARAGRAPHS])
def test_a_kernel_that_is_cut_off_is_refused(tmp_path: Path, short: int) -> None:
    (tmp_path / "bzImage").write_bytes(kernel()[:-short])
    with pytest.raises(UsageError, match=r"the kernel is cut off: it has [\d,]+ bytes and says 2,048"):
        parts.keep_kernel(tmp_path / "bzImage")


def test_half_a_kernel_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-2").write_bytes(kernel())
    whole = parts.keep_kernel(tmp_path / "vmlinuz-2")
    half = whole.with_name("vmlinuz-1")
    half.write_bytes(kernel()[:-1])
    assert parts.find_kernel() == whole


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file may be longer than `limit`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_kernel_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-1").write_bytes(kernel())
    kept = parts.keep_kernel(tmp_path / "vmlinuz-1")
    (tmp_path / "vmlinuz-2").write_bytes(kernel(paragraphs=1 << 14))
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "vmlinuz-1").write_bytes(kernel(paragraphs=1 << 14))
    for name in ("vmlinuz-2", "again/vmlinuz-1"):
        with small_disk(1 << 16), pytest.raises(MachineError, match=f"{re.escape(str(kept.parent))}.*File too large"):
            parts.keep_kernel(tmp_path / name)
        assert list(kept.parent.iterdir()) == [kept]
        assert parts.find_kernel() == kept
    assert kept.read_bytes() == kernel()


def test_a_full_disk_is_told_where_the_disc_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vmlinuz-1").write_bytes(kernel(paragraphs=1 << 14))
    monkeypatch.setattr(image, "_guest", lambda *_: tmp_path / "vmlinuz-1")
    nothing = Path(os.devnull)
    made = parts.Parts("bochs", "xorriso", nothing, nothing, nothing, nothing, tmp_path / "vmlinuz-1")
    with small_disk(1 << 16), pytest.raises(MachineError, match=f"cannot write to {tmp_path}.*File too large"):
        image.boot_image(made, find_compiler())


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "build", "--kernel", str(tmp_path / "none.deb")]) == 2
    assert "none.deb: No such file or directory" in capsys.readouterr().err


def test_what_is_missing_is_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "xorriso" else f"/bin/{name}")
    monkeypatch.setattr(parts, "_FILES", dict.fromkeys(parts._FILES, "/none"))
    monkeypatch.setattr(parts, "_TERMINAL", ("/none", "*"))
    monkeypatch.setattr(parts, "find_kernel", lambda: None)
    with pytest.raises(CannotRunError) as caught:
        parts.find_parts()
    assert "apt-get install bochs-term bochsbios isolinux syslinux-common vgabios xorriso; and a Linux" in str(
        caught.value
    )
    assert caught.value.exit_code == 3
    assert main(["emulator", "build"]) == 3
    assert "apt-get download linux-image-" in capsys.readouterr().err


def test_nothing_is_said_of_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(parts, "_FILES", dict.fromkeys(parts._FILES, __file__))
    monkeypatch.setattr(parts, "_TERMINAL", (str(Path(__file__).parent), "*.py"))
    monkeypatch.setattr(parts, "find_kernel", lambda: None)
    with pytest.raises(CannotRunError) as caught:
        parts.find_parts()
    assert "apt-get install" not in str(caught.value)
    monkeypatch.setattr(parts, "find_kernel", lambda: Path("vmlinuz-1"))
    assert parts.find_parts().kernel == Path("vmlinuz-1")


def test_the_archive_is_what_cpio_writes() -> None:
    archive = image._archive("init", b"program")
    assert len(archive) % 4 == 0
    assert archive.startswith(b"070701" + b"%08x" % 1 + b"%08x" % 0o100755)
    assert archive[110:] == b"init\0\0program\0" + archive[124:]
    assert b"TRAILER!!!" in archive
