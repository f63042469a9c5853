"""`nn512 import`: reads an ONNX model, and writes it as a graph with its parameters."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nn512.cli.arguments import Subparsers
from nn512.cli.onnx_arguments import INSTALL, add_cut_arguments, dims_of
from nn512.cli.outputs import check_file
from nn512.errors import UsageError


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "import",
        help="read an ONNX model: write it as a graph with its parameters",
        description="Reads an ONNX model (operator sets 7 to 24, float32, batch 1) and writes the graph, with the "
        "model's names in comments, and the parameters. Everything that the language cannot say is listed at once, and "
        "then nothing is written. Ends with a comparison of the emitted C, the reference and ONNX Runtime, where that "
        f"is installed. What is read: nn512 doc onnx. {INSTALL}.",
    )
    parser.add_argument("model", metavar="MODEL.onnx", type=Path, help="the model")
    parser.add_argument(
        "-o", "--output", metavar="NET.graph", type=Path, required=True, help="where to write the graph"
    )
    parser.add_argument("--params", metavar="NET.npz", type=Path, help="where to write the parameters (.npz or .bin)")
    parser.add_argument(
        "--map",
        metavar="FILE",
        type=Path,
        help="where to write, as JSON, what became of every name, and of the axes of inputs and outputs: C[3:4] are "
        "three channels, four apart",
    )
    parser.add_argument("--prefix", metavar="NAME", help="prefix of the emitted C (default: after the file's name)")
    parser.add_argument("--no-verify", action="store_true", help="leave out the comparison at the end")
    add_cut_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Import one model."""
    dims = dims_of(args.dim)
    if args.params is not None and args.params.suffix not in {".npz", ".bin"}:
        raise UsageError(f"parameters are written to a file named .npz or .bin, not {str(args.params)!r}")
    written = [path for path in (args.output, args.params, args.map) if path is not None]
    if len(set(written)) < len(written):
        raise UsageError("two results would be written to one file")
    for path in written:
        check_file(path)
    from nn512.onnx import from_onnx, save_imported
    from nn512.params import params_bytes

    imported = from_onnx(args.model, dims=dims, starts=args.starts, ends=args.ends, prefix=args.prefix)
    if args.params is None and imported.params:
        raise UsageError(f"the model has {len(imported.params):,} parameters: --params NET.npz says where they go")
    save_imported(imported, args.output, args.params, args.map)
    graph = imported.graph
    size = params_bytes(graph)
    print(f"{args.output}: {len(graph.layers):,} layers; {len(imported.params):,} parameters, {size:,} bytes")
    for name in imported.unused:
        print(f"input {name!r} of the model leads to no output and was left out")
    if args.no_verify:
        return 0
    from nn512.cli.compare_onnx import compare

    verdict = compare(imported, graph, imported.params, args.model)
    print(verdict)
    if not verdict.agrees:
        words = ["nn512", "verify", str(args.output), "--onnx", str(args.model)]
        print("see: " + shlex.join(words))
    return 0 if verdict.agrees else 1
