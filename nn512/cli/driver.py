"""`nn512 driver`: writes the C code of a graph and a program around it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nn512.cli.arguments import (
    Subparsers,
    add_compiler_options,
    add_graph_argument,
    add_threads_option,
    compiler_options,
    read_graph,
)
from nn512.cli.outputs import check_directory


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "driver",
        help="write a program that runs a net on files",
        description="Writes what nn512 compile does, and <Prefix>_driver.c: a program that reads parameters "
        "and inputs from files of float32 numbers, infers, and writes outputs to files. Its first lines say how it is "
        "built and used. Where the processor has no AVX-512, an emulator runs it: sde64 -skx -- ./<Prefix>_driver ...",
    )
    add_graph_argument(parser)
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write")
    add_compiler_options(parser)
    add_threads_option(parser, "--for-threads")


def run(args: argparse.Namespace) -> int:
    """Compile a graph and write the four files."""
    graph = read_graph(args.graph)
    from nn512.cgen.driver import driver_name, write_driver
    from nn512.compiler import compile as compile_graph
    from nn512.compiler import file_names

    prefix = graph.config.prefix
    check_directory(args.directory, files=(*file_names(prefix), driver_name(prefix)))
    emitted = compile_graph(graph, compiler_options(args, args.for_threads))
    print(*emitted.write(args.directory, **{driver_name(prefix): write_driver(graph)}), sep="\n")
    return 0
