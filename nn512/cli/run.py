"""`nn512 run`: runs a net on arrays from files."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import Subparsers, add_graph_argument, input_files, read_graph
from nn512.cli.outputs import check_file
from nn512.errors import UsageError
from nn512.graph import Graph

if TYPE_CHECKING:
    from nn512.arrays import Array


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "run",
        help="run a net on arrays from files",
        description="Runs a graph and writes its outputs, an array of channels x height x width per tensor name. With "
        "NN512_RUNNER=sde, bochs or aarch64 it is the program of nn512 driver that runs, in that emulator.",
    )
    add_graph_argument(parser)
    parser.add_argument(
        "--params", metavar="P.npz", type=Path, help="parameters (.npz or .bin); may be left out if there are none"
    )
    parser.add_argument(
        "--input",
        metavar="NAME=X.npy",
        action="append",
        default=[],
        help="float32 array for one input, channels x height x width (or as its Order says); once per input",
    )
    parser.add_argument(
        "--backend",
        choices=("c", "reference"),
        default="c",
        help="c: compile and run the emitted code, float32 (default); reference: what the graph means, float64",
    )
    parser.add_argument("--threads", metavar="N", type=int, help="threads of the emitted code (default: 1)")
    parser.add_argument("-o", "--output", metavar="OUT.npz", type=Path, required=True, help="where to write")


def run(args: argparse.Namespace) -> int:
    """Run a net once."""
    if args.backend == "reference" and args.threads is not None:
        raise UsageError("--threads is for --backend c; the reference has none")
    graph = read_graph(args.graph)
    files = input_files(args.input, graph)
    check_file(args.output)
    from nn512.arrays import load_array, save_arrays
    from nn512.params import check_arrays, check_params, load_params, show_shape

    inputs = check_arrays("input", graph.input_shapes, {name: load_array(path) for name, path in files.items()})
    params = check_params(graph, {}) if args.params is None else load_params(args.params, graph)

    outputs = _reference(graph, params, inputs) if args.backend == "reference" else _c(graph, params, inputs, args)
    save_arrays(args.output, outputs)
    for name, array in outputs.items():
        print(f"{name}: {show_shape(array.shape)} {array.dtype}, {array.min():.6g} to {array.max():.6g}")
    return 0


def _c(
    graph: Graph, params: Mapping[str, Array], inputs: Mapping[str, Array], args: argparse.Namespace
) -> Mapping[str, Array]:
    from nn512.session import IN_PROCESS, Session

    if os.environ.get("NN512_RUNNER", "") not in IN_PROCESS:
        return _elsewhere(graph, params, inputs, args)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        session = Session(graph, params, 1 if args.threads is None else args.threads)
    for warning in told:
        print(f"nn512: {warning.message}", file=sys.stderr)
    with session:
        return session.run(inputs)


def _elsewhere(
    graph: Graph, params: Mapping[str, Array], inputs: Mapping[str, Array], args: argparse.Namespace
) -> Mapping[str, Array]:
    """Outputs of the driver program, where a runner is asked for that executes programs."""
    from fuzz.run.runners import choose_runner
    from fuzz.run.standalone import infer
    from nn512.compiler import compile as compile_graph

    if args.threads is not None:
        raise UsageError("--threads is for code that runs inside this process; results do not depend on it")
    runner = choose_runner()
    print(runner.line, file=sys.stderr)
    return infer(graph, compile_graph(graph), params, inputs, runner)


def _reference(graph: Graph, params: Mapping[str, Array], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    import reference

    return {name: result.value for name, result in reference.run(graph, params, inputs, independent=True).items()}
