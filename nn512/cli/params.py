"""`nn512 params`: makes the parameters of a graph, or turns trained ones into what a C program can read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import Subparsers, add_graph_argument, read_graph
from nn512.cli.outputs import check_file
from nn512.errors import UsageError
from nn512.graph import Graph

if TYPE_CHECKING:
    from nn512.params import Params


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "params",
        help="make random parameters, or convert trained ones for a C program",
        description="Writes the parameters of a graph: P.npz holds one float32 array per name, P.bin the bytes of the "
        "<Prefix>Params struct, which a C program can fread. A state dict (model.safetensors, or model.pt and "
        "model.pth, which PyTorch reads without running any code of theirs) is taken by its names: conv1Weights is "
        "conv1.weight, and features0Weights is features.0.weight; of a BatchNorm, Scales are weight, Shifts bias, "
        "Means running_mean and Variances running_var. Everything that is missing, unused or of a wrong shape is "
        "listed at once, and then nothing is written.",
    )
    add_graph_argument(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--random", metavar="SEED", type=int, help="draw them (the default, with seed 0)")
    source.add_argument(
        "--from",
        metavar="FILE",
        dest="source",
        type=Path,
        help="take them from a file, checked: .npz, .bin, .safetensors, .pt or .pth",
    )
    parser.add_argument(
        "--map",
        metavar="FILE",
        type=Path,
        help="names in the file, as JSON: what `nn512 import --map` writes, or an object of our names (of parameters, "
        "or of tensors that have some) and theirs (of arrays, or of modules)",
    )
    parser.add_argument(
        "--flatten",
        action="store_true",
        help="take arrays whose axes are merged or split, such as 10x1568 for 10x32x7x7",
    )
    parser.add_argument("--zero-biases", action="store_true", help="biases that the file does not have are zeros")
    parser.add_argument("--ignore-unused", action="store_true", help="pass over arrays that no parameter takes")
    parser.add_argument(
        "-o", "--output", metavar="P.npz|P.bin", type=Path, required=True, help="where to write; the suffix decides"
    )


def run(args: argparse.Namespace) -> int:
    """Write one file of parameters."""
    if args.output.suffix not in {".npz", ".bin"}:
        raise UsageError(f"parameters are written to a file named .npz or .bin, not {str(args.output)!r}")
    graph = read_graph(args.graph)
    check_file(args.output)
    from nn512.params import params_bytes, save_params

    params = _params(args, graph)
    save_params(args.output, graph, params)
    print(f"{args.output}: {len(params):,} parameters, {params_bytes(graph):,} bytes")
    return 0


def _params(args: argparse.Namespace, graph: Graph) -> Params:
    """The parameters from where the arguments say."""
    from nn512.params import load_params, random_params
    from nn512.weights import Liberties, load_weights, read_map

    liberties = Liberties(args.flatten, args.zero_biases, args.ignore_unused)
    takes_liberties = args.map is not None or liberties != Liberties()
    if args.source is None:
        if takes_liberties:
            raise UsageError("--map, --flatten, --zero-biases and --ignore-unused are for what --from FILE holds")
        return random_params(graph, args.random or 0)
    if args.source.suffix in {".safetensors", ".pt", ".pth"} or (args.source.suffix == ".npz" and takes_liberties):
        return load_weights(args.source, graph, None if args.map is None else read_map(args.map), liberties)
    if takes_liberties:
        raise UsageError(
            f"{str(args.source)!r} has no names: --map and the like are for .npz, .safetensors, .pt and .pth"
        )
    return load_params(args.source, graph)
