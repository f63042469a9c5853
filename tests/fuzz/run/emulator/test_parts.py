"""What the emulator takes: found, kept, or said to be missing together with how to get it."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from fuzz.run.emulator import image, parts
from nn512.cli import main
from nn512.errors import CannotRunError, UsageError


def kernel(flags: int = 1, version: int = 0x20F) -> bytes:
    """As much of a kernel as a boot loader reads."""
    data = bytearray(0x400)
    data[0x202:0x206] = b"HdrS"
    data[0x206:0x208] = version.to_bytes(2, "little")
    data[0x236] = flags
    return bytes(data)


def package(content: bytes, name: str = "./boot/vmlinuz-6.1.0-1-cloud-amd64", member: str = "data.tar.xz") -> bytes:
    """A Debian package with one file in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    made = b"!<arch>\n"
    for called, data in (("debian-binary", b"2.0\n"), ("odd", b"xyz"), (member, stream.getvalue())):
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
