"""`nn512 compile`: writes the C code of a graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from nn512.cli.arguments import Subparsers, add_compiler_options, add_graph_argument, compiler_options, read_graph
from nn512.cli.outputs import check_directory
from nn512.errors import UsageError


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "compile",
        help="write the C code of a graph",
        description="Writes <Prefix>.h, <Prefix>.c and <Prefix>.plan.json. Build the C with: "
        "cc -std=c99 -O2 -mavx512f -pthread -c <Prefix>.c",
    )
    add_graph_argument(parser)
    parser.add_argument(
        "directory", metavar="DIR", type=Path, nargs="?", default=Path(), help="where to write (default: here)"
    )
    add_compiler_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compile a graph and write the three files."""
    graph = read_graph(args.graph)
    check_directory(args.directory)
    from nn512.compiler import compile as compile_graph

    emitted = compile_graph(graph, compiler_options(args))
    try:
        args.directory.mkdir(parents=True, exist_ok=True)
        emitted.write(args.directory)
    except OSError as error:
        raise UsageError(f"cannot write to {str(args.directory)!r}: {error.strerror}") from error
    for suffix in (".h", ".c", ".plan.json"):
        print(args.directory / f"{emitted.prefix}{suffix}")
    return 0
