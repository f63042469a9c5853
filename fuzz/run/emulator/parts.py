"""What the emulator takes: programs and files of Debian packages, and a Linux kernel."""

from __future__ import annotations

import io
import lzma
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nn512.arrays import write_file
from nn512.errors import CannotRunError, UsageError, cannot_write
from nn512.toolchain import default_cache_directory

_FILES = {
    "bochsbios": "/usr/share/bochs/BIOS-bochs-latest",
    "vgabios": "/usr/share/vgabios/vgabios.bin",
    "isolinux": "/usr/lib/ISOLINUX/isolinux.bin",
    "syslinux-common": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
}
"""A file that we use, for each package that is more than a program."""

_PROGRAMS = ("bochs", "xorriso")
_TERMINAL = "/usr/lib", "*/bochs/plugins/libbx_term_gui.so"
_KERNEL_ADVICE = (
    "a Linux kernel for x86-64 with its serial console built in: apt-get download linux-image-VERSION-cloud-amd64 "
    "(apt-cache search linux-image lists the versions), then nn512 emulator build --kernel FILE.deb"
)
_LARGEST_KERNEL = 64 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Parts:
    """Where everything is that the emulator is made of."""

    bochs: str
    xorriso: str
    bios: Path
    vga_bios: Path
    isolinux: Path
    ldlinux: Path
    kernel: Path


def find_parts() -> Parts:
    """What this machine has. Raises CannotRunError with a list of what is missing and how to get it."""
    packages = [name for name in _PROGRAMS if shutil.which(name) is None]
    packages += [name for name, path in _FILES.items() if not Path(path).is_file()]
    if not any(Path(_TERMINAL[0]).glob(_TERMINAL[1])):
        packages.append("bochs-term")
    kernel = find_kernel()
    missing = [f"apt-get install {' '.join(sorted(packages))}"] if packages else []
    missing += [] if kernel else [_KERNEL_ADVICE]
    if kernel is None or packages:
        raise CannotRunError("the emulator needs: " + "; and ".join(missing))
    return Parts(
        bochs=shutil.which("bochs") or "bochs",
        xorriso=shutil.which("xorriso") or "xorriso",
        bios=Path(_FILES["bochsbios"]),
        vga_bios=Path(_FILES["vgabios"]),
        isolinux=Path(_FILES["isolinux"]),
        ldlinux=Path(_FILES["syslinux-common"]),
        kernel=kernel,
    )


def kernel_directory() -> Path:
    """Where the kernel is kept that a user has given."""
    return default_cache_directory() / "emulator" / "kernel"


def find_kernel() -> Path | None:
    """The kernel that a user has given, or one in /boot, those for clouds first: they are small."""
    given = sorted(kernel_directory().glob("vmlinuz-*"))
    installed = [path for path in sorted(Path("/boot").glob("vmlinuz-*"), reverse=True) if os.access(path, os.R_OK)]
    found = [*given, *(path for path in installed if "cloud" in path.name), *installed]
    return next((path for path in found if _is_whole_kernel(path.read_bytes())), None)


def keep_kernel(file: Path) -> Path:
    """Keep the kernel in `file`, a Debian package or a vmlinuz, for every later use; the one before goes last.

    Raises UsageError, and MachineError where the disk is full: what was kept stays then.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    name = file.name if file.name.startswith("vmlinuz-") else f"vmlinuz-{file.stem}"
    if data.startswith(b"!<arch>\n"):
        name, data = _kernel_of_package(file, data)
    if not _is_kernel(data):
        raise UsageError(f"{file}: neither a Linux kernel for x86-64 nor a Debian package with one in it")
    if len(data) < _least_size(data):
        raise UsageError(f"{file}: the kernel is cut off: it has {len(data):,} bytes and says {_least_size(data):,}")
    kept = kernel_directory() / name
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(f"to {kept.parent}", error, "; set NN512_CACHE to a directory") from error
    with write_file(kept) as stream:
        stream.write(data)
    for other in kept.parent.glob("vmlinuz-*"):
        if other != kept:
            other.unlink(missing_ok=True)
    return kept


def _is_kernel(data: bytes) -> bool:
    """Whether this is a bzImage with 64-bit code, by the header that boot loaders read (boot protocol 2.12 and on)."""
    return (
        data[0x202:0x206] == b"HdrS" and int.from_bytes(data[0x206:0x208], "little") >= 0x20C and bool(data[0x236] & 1)
    )


def _is_whole_kernel(data: bytes) -> bool:
    return _is_kernel(data) and len(data) >= _least_size(data)


def _least_size(data: bytes) -> int:
    """Bytes of a bzImage by its header: boot sector and `setup_sects` more, then `syssize` paragraphs of kernel."""
    return ((data[0x1F1] or 4) + 1) * 512 + int.from_bytes(data[0x1F4:0x1F8], "little") * 16


def _kernel_of_package(file: Path, data: bytes) -> tuple[str, bytes]:
    """The file /boot/vmlinuz-... of a Debian package, and its name."""
    for member, content in _members(data):
        if not member.startswith("data.tar"):
            continue
        try:
            found = _kernel_of_archive(content)
        except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
            raise UsageError(
                f"{file}: cannot read {member} in it, which is damaged or packed in a way that is not known here; "
                "fetch it anew, or unpack it: dpkg -x FILE DIR"
            ) from error
        if found is not None:
            return found
    raise UsageError(f"{file}: this package has no /boot/vmlinuz-...; linux-image-VERSION-cloud-amd64 has")


def _kernel_of_archive(content: bytes) -> tuple[str, bytes] | None:
    """Name and contents of the first boot/vmlinuz-... of a tar archive, all of which is read: checksums stand last."""
    found = None
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            if entry.isfile() and re.fullmatch(r"(\./)?boot/vmlinuz-[^/]+", entry.name):
                stream = archive.extractfile(entry)
                assert stream is not None
                found = entry.name.rpartition("/")[2], stream.read(_LARGEST_KERNEL)
                break
        while archive.fileobj.read(_CHUNK):
            pass
    return found


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents in an archive of ar(1), as Debian packages are."""
    at = 8
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode("ascii", "replace").strip().rstrip("/"), data[at + 48 : at + 58]
        if not size.strip().isdigit():
            return
        length = int(size)
        yield name, data[at + 60 : at + 60 + length]
        at += 60 + length + length % 2
