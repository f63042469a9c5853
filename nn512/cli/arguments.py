"""What subcommands share: the type of argparse's subparsers, and the argument GRAPH."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nn512.errors import UsageError
from nn512.graph import Graph, load, load_stream
from nn512.graph.kinds.config import PLATFORMS

if TYPE_CHECKING:
    from nn512.options import Options

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
"""What a subcommand's `add_parser` gets; argparse has no public name for it."""


TIMEOUT = 20.0
"""Seconds without progress that are a hang, where nobody has said otherwise."""


def add_graph_argument(parser: argparse.ArgumentParser) -> None:
    """The positional argument GRAPH."""
    parser.add_argument("graph", metavar="GRAPH", help="graph file; - reads standard input")


def add_compiler_options(parser: argparse.ArgumentParser) -> None:
    """The options of a compilation; `compiler_options` reads them."""
    parser.add_argument(
        "--no-pass", metavar="NAME", action="append", default=[], help="leave out an optimizing pass; repeatable"
    )
    parser.add_argument(
        "--force",
        metavar="[LAYER=]KERNEL",
        action="append",
        default=[],
        help="use this kernel for the layer that computes the tensor LAYER, or for all to which it applies; repeatable",
    )
    parser.add_argument(
        "--weights",
        choices=("fp16", "fp32"),
        default="fp16",
        help="narrowest format in which weights may be stored; fp16 only where that saves time (default: fp16)",
    )
    parser.add_argument(
        "--platform",
        choices=PLATFORMS,
        default="",
        help="instruction set and arithmetic of the emitted code, whatever the graph's Config says",
    )


def add_threads_option(parser: argparse.ArgumentParser, name: str = "--threads") -> None:
    """The number of threads for which a graph is compiled, under this name."""
    parser.add_argument(
        name,
        metavar="N",
        type=int,
        default=1,
        help="choose the kernels that are best on N threads (default: 1); the code runs on any number",
    )


def add_target_option(parser: argparse.ArgumentParser) -> None:
    """What is checked, if not our compiler."""
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="check another system instead of nn512: onnxruntime, openvino (in float32), openvino-bf16 (as it computes "
        "by default where the processor has bfloat16), torch, torch-compile, emx-onnx-cgen or ncnn, where installed; "
        "command:'generate {graph} {dir}', any program that reads a graph file and writes <Prefix>.h and <Prefix>.c "
        "with the same API; or one that a package adds as an entry point of the group nn512.targets",
    )


def add_timeout_option(parser: argparse.ArgumentParser) -> None:
    """Declare after which time C, a generator or a system hangs; None where nobody has said."""
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        help="seconds without progress after which C hangs, which ends its case; runners slower than this processor "
        f"get their multiple (default: {TIMEOUT:g}). Also what a generator or a system of --target may take for a "
        "graph (default: 120 a generator, 60 a system; torch-compile gets five times that)",
    )


MOST_JOBS = 1024
"""Processes at most; more are a slip of the hand, and would be started."""


def check_jobs(jobs: int | None) -> None:
    """UsageError for a number of processes that cannot be meant."""
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"--jobs must be in 1 to {MOST_JOBS}, not {jobs}")


def add_sanitize_option(parser: argparse.ArgumentParser) -> None:
    """Checks that the C compiler builds in; `sanitize` obeys it."""
    parser.add_argument(
        "--sanitize",
        metavar="NAME",
        action="append",
        choices=("address", "undefined", "thread", "memory"),
        default=[],
        help="build the C with this sanitizer of the C compiler: address, undefined, thread, or (with clang) memory; "
        "undefined goes with each of the others. Intrinsics are then portable C, where sanitizers see every lane; "
        "NN512_RUNNER=native leaves them as they are",
    )


def sanitize(names: Sequence[str]) -> None:
    """Let every runner from now on, in the processes that this one starts, too, have these sanitizers."""
    if names:
        os.environ["NN512_RUNNER"] = "+".join((os.environ.get("NN512_RUNNER") or "soft", *names))


def compiler_options(args: argparse.Namespace, threads: int = 1) -> Options:
    """What `add_compiler_options` declared, for so many threads. Raises UsageError."""
    from nn512.options import Options

    force: dict[str, str] = {}
    for text in args.force:
        layer, equals, kernel = text.rpartition("=")
        if not kernel or (equals and not layer):
            raise UsageError(f"--force takes KERNEL or LAYER=KERNEL, not {text!r}")
        if layer in force:
            raise UsageError(f"--force names two kernels for {layer or 'all layers'}")
        force[layer] = kernel
    return Options(tuple(args.no_pass), tuple(sorted(force.items())), args.weights, threads, args.platform)


def compiler_words(args: argparse.Namespace) -> list[str]:
    """The words on a command line that say what `compiler_options` reads."""
    words = [word for name in args.no_pass for word in ("--no-pass", name)]
    words += [word for text in args.force for word in ("--force", text)]
    words += [] if args.weights == "fp16" else ["--weights", args.weights]
    return words + (["--platform", args.platform] if args.platform else [])


def read_graph(path: str) -> Graph:
    """The graph in a file, or on standard input if `path` is `-`. Raises GraphError and UsageError."""
    if path == "-":
        return load_stream(sys.stdin.buffer, "<stdin>")
    return load(path)


def input_files(given: Sequence[str], graph: Graph) -> dict[str, Path]:
    """What `--input NAME=X.npy` said, by the name of an input. Raises UsageError."""
    names = {node.to_tensor for node in graph.inputs}
    files: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--input takes NAME=X.npy, not {text!r}")
        if name in files:
            raise UsageError(f"input {name!r} is given twice")
        if name not in names:
            raise UsageError(f"there is no input {name!r}; this graph has {', '.join(sorted(names))}")
        files[name] = Path(path)
    return files
