"""The disc that the emulator boots from: a boot loader, the kernel, and our program as the only one."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources
from pathlib import Path

from fuzz.run.emulator.parts import Parts
from nn512.errors import CannotRunError
from nn512.toolchain import BuildCache, BuildError, Compiler, build, default_cache, machine_faults, run_bounded

_GUEST_FILES = ("guest.h", "checksum.c", "disk.c", "init.c")
_GUEST_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-s", *_GUEST_FILES[1:])

_ARGUMENTS = (
    "initrd=/initrd.gz",
    "console=ttyS0",
    "quiet",
    # The model's size of compacted XSAVE areas is inconsistent, for which the kernel would switch AVX off.
    "noxsaves clearcpuid=321,323",
    # Nothing is measured against other clocks, which takes long and fails where time is counted in instructions.
    "tsc=reliable lpj=1000000 noapictimer",
    # For a processor that rests Bochs sleeps a millisecond of the host's time again and again.
    "idle=poll",
    "random.trust_cpu=on nokaslr mitigations=off audit=0",
)
"""What the kernel is told."""

_LOADER = f"""\
default nn512
prompt 0
timeout 1
label nn512
 kernel /vmlinuz
 append {" ".join(_ARGUMENTS)}
"""

_DISC_TIMEOUT = 120.0


def emulator_cache() -> BuildCache:
    """Where discs are kept; each has a kernel on it."""
    return default_cache("emulator", limit_bytes=128 << 20)


def boot_image(parts: Parts, compiler: Compiler) -> Path:
    """The disc made of these parts; made once, as the cache has it by their contents. Raises CannotRunError."""
    cache = emulator_cache()
    init = _guest(compiler, cache)
    files = {
        "initrd.gz": gzip.compress(_archive("init", init.read_bytes()), 1, mtime=0),
        "vmlinuz": parts.kernel.read_bytes(),
        "isolinux/isolinux.bin": parts.isolinux.read_bytes(),
        "isolinux/ldlinux.c32": parts.ldlinux.read_bytes(),
        "isolinux/isolinux.cfg": _LOADER.encode(),
    }
    key = cache.key("disc", {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    found = cache.find(key, "boot.iso")
    if found is not None:
        return found.path
    with machine_faults(f"cannot write to {cache.directory}"), cache.workspace() as directory:
        entry, tree = Path(directory) / "entry", Path(directory) / "tree"
        entry.mkdir()
        for name, data in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        command = [parts.xorriso, "-as", "mkisofs", "-quiet", "-o", str(entry / "boot.iso")]
        command += ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"]
        command += ["-boot-load-size", "4", "-boot-info-table", str(tree)]
        status, text, late = run_bounded(command, timeout=_DISC_TIMEOUT)
        if status != 0 or late:
            raise CannotRunError(
                f"{parts.xorriso} does not make the emulator's disc in {cache.directory}:\n{text}".rstrip()
            )
        cache.store(key, entry)
    return cache.directory / key / "boot.iso"


def _guest(compiler: Compiler, cache: BuildCache) -> Path:
    folder = resources.files("fuzz.run.emulator") / "guest"
    files = {name: (folder / name).read_text("utf-8") for name in _GUEST_FILES}
    try:
        return build(compiler, files, _GUEST_FLAGS, "init", cache=cache).path
    except BuildError as error:
        raise CannotRunError(
            f"{compiler.path} does not build static programs for x86-64, which the emulator runs: {error}"
        ) from error


def _archive(name: str, data: bytes) -> bytes:
    """A cpio archive (format `newc`) with one program in it, as the kernel unpacks it."""

    def member(number: int, mode: int, name: str, data: bytes) -> bytes:
        size = len(name) + 1
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, size, 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)

    return member(1, 0o100755, name, data) + member(0, 0, "TRAILER!!!", b"")
