"""`nn512 params`: makes the parameters of a graph, or turns them into what a C program can read."""

from __future__ import annotations

import argparse
from pathlib import Path

from nn512.cli.arguments import Subparsers, add_graph_argument, read_graph
from nn512.cli.outputs import check_file
from nn512.errors import UsageError


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "params",
        help="make random parameters, or convert them for a C program",
        description="Writes the parameters of a graph: P.npz holds one float32 array per name, P.bin the bytes of the "
        "<Prefix>Params struct, which a C program can fread.",
    )
    add_graph_argument(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--random", metavar="SEED", type=int, help="draw them (the default, with seed 0)")
    source.add_argument("--from", metavar="P.npz", dest="source", type=Path, help="take them from a file, checked")
    parser.add_argument(
        "-o", "--output", metavar="P.npz|P.bin", type=Path, required=True, help="where to write; the suffix decides"
    )


def run(args: argparse.Namespace) -> int:
    """Write one file of parameters."""
    if args.output.suffix not in {".npz", ".bin"}:
        raise UsageError(f"parameters are written to a file named .npz or .bin, not {str(args.output)!r}")
    graph = read_graph(args.graph)
    check_file(args.output)
    from nn512.params import load_params, params_bytes, random_params, save_params

    params = random_params(graph, args.random or 0) if args.source is None else load_params(args.source, graph)
    save_params(args.output, graph, params)
    print(f"{args.output}: {len(params):,} parameters, {params_bytes(graph):,} bytes")
    return 0
