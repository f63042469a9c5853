"""`nn512 emulator`: makes ready the machine that executes AVX-512 without the processor."""

from __future__ import annotations

import argparse
from pathlib import Path

from nn512.cli.arguments import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "emulator",
        help="make ready the emulator of AVX-512",
        description="Bochs, of Debian's packages, executes emitted machine code on processors without AVX-512, after "
        "NN512_RUNNER=bochs has been set. It boots once for each process that runs code, which takes a processor half "
        "a minute or more, and is very much slower than a processor.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    build = commands.add_parser(
        "build",
        help="make the disc that the emulator boots from",
        description="Makes the disc, unless it is in the cache, out of a Linux kernel and files of Debian's packages. "
        "Says what is missing and how to get it, and ends with 3, where they are not here.",
    )
    build.add_argument(
        "--kernel",
        metavar="FILE",
        type=Path,
        help="a Debian package linux-image-VERSION-cloud-amd64, or a vmlinuz: the kernel is kept in the cache; "
        "without this, the kernel kept before is used, or one in /boot",
    )
    build.add_argument("--boot", action="store_true", help="also boot it and try a program whose answers are known")


def run(args: argparse.Namespace) -> int:
    """Make the disc, and boot it if that is asked for."""
    from fuzz.run.emulator.image import boot_image
    from fuzz.run.emulator.parts import find_parts, keep_kernel
    from fuzz.run.emulator.service import emulator
    from nn512.toolchain import find_compiler

    if args.kernel is not None:
        print(f"kernel: {keep_kernel(args.kernel)}")
    compiler = find_compiler()
    parts = find_parts()
    print(f"disc: {boot_image(parts, compiler)} (kernel {parts.kernel.name})")
    if args.boot:
        print(f"booted in {emulator(compiler).seconds:.0f} s; the known answers are right")
    return 0
