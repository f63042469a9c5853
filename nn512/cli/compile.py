"""`nn512 compile`: writes the C code of a graph."""

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
    add_threads_option(parser)


def run(args: argparse.Namespace) -> int:
    """Compile a graph and write the three files."""
    graph = read_graph(args.graph)
    from nn512.compiler import compile as compile_graph
    from nn512.compiler import file_names

    check_directory(args.directory, files=file_names(graph.config.prefix))
    emitted = compile_graph(graph, compiler_options(args, args.threads))
    print(*emitted.write(args.directory), sep="\n")
    return 0
