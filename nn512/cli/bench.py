"""`nn512 bench`: measures the emitted code beside other systems and the processor's limit."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import (
    Subparsers,
    add_compiler_options,
    add_graph_argument,
    compiler_options,
    compiler_words,
    read_graph,
)
from nn512.errors import INSTALL_PEERS, UsageError
from nn512.graph import Graph

if TYPE_CHECKING:
    from nn512.arrays import Array
    from nn512.params import Params

_PEERS = (
    "peers to take turns with: onnxruntime, openvino, openvino_default (in the precision that it chooses, perhaps "
    "bfloat16), emx_onnx_cgen"
)


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the emitted code beside other systems",
        description="Builds the emitted C with -O2 and measures it, pinned, taking turns with other systems and with a "
        "loop of nothing but FMAs; all results are held to the reference first. Prints medians, quartiles, ratios, "
        "GFLOP/s and the share of the processor's limit, by the multiply-accumulates of the graph even where a system "
        f"computes fewer. The peers need packages: {INSTALL_PEERS}.",
    )
    add_graph_argument(parser)
    parser.add_argument(
        "--params", metavar="P.npz", type=Path, help="parameters (.npz or .bin; default: random, seed 0)"
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=1,
        help="threads of every system, each on a processor; kernels are chosen for as many (default: 1)",
    )
    parser.add_argument("--against", metavar="NAME,...", default="", help=_PEERS)
    parser.add_argument(
        "--per-layer", action="store_true", help="also the time of every layer, from a build that counts"
    )
    parser.add_argument(
        "--runs", metavar="R", type=int, default=30, help="timed inferences of each system (default: 30)"
    )
    add_compiler_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Measure one net; progress goes to standard error."""
    import json

    peers = tuple(name.strip() for name in args.against.split(",")) if args.against else ()
    if args.threads < 1:
        raise UsageError(f"--threads must be at least 1, not {args.threads}")
    graph = read_graph(args.graph)
    from nn512.bench import Request, measure
    from nn512.bench.report import as_data, as_text
    from nn512.bench.systems import check_peers
    from nn512.params import load_params, random_params

    check_peers(peers)  # before any work
    params = random_params(graph, 0) if args.params is None else load_params(args.params, graph)
    inputs = _random_inputs(graph)

    def expected() -> Mapping[str, Array]:
        import reference

        return {name: result.value for name, result in reference.run(graph, params, inputs, independent=True).items()}

    def progress(text: str) -> None:
        print(f"nn512 bench: {text}", file=sys.stderr, flush=True)

    request = Request(
        graph,
        params,
        inputs,
        expected,
        args.threads,
        peers,
        per_layer=args.per_layer,
        runs=args.runs,
        options=compiler_options(args),
        progress=progress,
    )
    measurement = measure(request)
    command = _command(args)
    print(json.dumps(as_data(measurement, command), indent=1) if args.json else as_text(measurement, command))
    return 0


def _random_inputs(graph: Graph) -> Params:
    """Standard normal values, always the same."""
    import numpy as np

    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in graph.input_shapes.items()}


def _command(args: argparse.Namespace) -> str:
    """The command that measures this again."""
    words = ["nn512", "bench", args.graph]
    if args.params is not None:
        words += ["--params", str(args.params)]
    if args.threads != 1:
        words += ["--threads", str(args.threads)]
    if args.against:
        words += ["--against", args.against]
    words += ["--per-layer"] * args.per_layer
    if args.runs != 30:
        words += ["--runs", str(args.runs)]
    words += compiler_words(args)
    words += ["--json"] * args.json
    return shlex.join(words)
