"""`nn512 export`: writes a graph with its parameters as an ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path

from nn512.cli.arguments import Subparsers, add_graph_argument, read_graph
from nn512.cli.onnx_arguments import INSTALL
from nn512.cli.outputs import check_file


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "export",
        help="write a graph with its parameters as an ONNX model",
        description="Writes an ONNX model of a graph (operator set 17, float32, batch 1; tensors and parameters keep "
        f"their names) for other runtimes. {INSTALL}.",
    )
    add_graph_argument(parser)
    parser.add_argument(
        "output",
        metavar="OUT.onnx",
        type=Path,
        help="where to write; parameters beyond 2 GB go to OUT.onnx.data beside it",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--params", metavar="P.npz", type=Path, help="parameters (.npz or .bin)")
    source.add_argument("--random", metavar="SEED", type=int, help="draw them (the default, with seed 0)")


def run(args: argparse.Namespace) -> int:
    """Write one model."""
    graph = read_graph(args.graph)
    check_file(args.output)
    from nn512.onnx import export_onnx, import_onnx
    from nn512.params import load_params, random_params

    import_onnx()  # before the work of drawing parameters
    params = random_params(graph, args.random or 0) if args.params is None else load_params(args.params, graph)
    for path in export_onnx(args.output, graph, params):
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0
