"""`nn512 explain`: what the compiler makes of a graph, and why."""

from __future__ import annotations

import argparse

from nn512.cli.arguments import (
    Subparsers,
    add_compiler_options,
    add_graph_argument,
    add_threads_option,
    compiler_options,
    read_graph,
)
from nn512.errors import UsageError
from nn512.plan.explain import explain

_AFTER = "print the program after that pass, one operation per line (`lower`: before all of them)"


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "explain",
        help="print what is done to a graph, and why",
        description="Prints what every optimizing pass did, and for every layer of the emitted C the lines of the "
        "graph it covers and why they are part of it, the algorithm and what others would have cost, the work and how "
        "threads share it, where its tensors are, and which sizes near its own would waste less. All but "
        "that advice is in <Prefix>.plan.json, too.",
    )
    add_graph_argument(parser)
    add_compiler_options(parser)
    add_threads_option(parser)
    parser.add_argument(
        "--why",
        action="store_true",
        help="also why other kernels refused each layer, and what its own decided about its code",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--after", metavar="PASS", help=_AFTER)
    form.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args: argparse.Namespace) -> int:
    """Explain one graph."""
    from nn512.compiler import compile as compile_graph
    from nn512.ir import format_program
    from nn512.passes.pipeline import PASSES, stages

    graph = read_graph(args.graph)
    options = compiler_options(args, args.threads)
    if args.why and (args.json or args.after is not None):
        raise UsageError("--why goes with the text of a plan alone; --json has all of it")
    if args.after is None:
        emitted = compile_graph(graph, options)
        print(emitted.plan_json if args.json else explain(emitted.plan, why=args.why), end="")
        return 0
    if args.after not in ("lower", *PASSES):
        raise UsageError(f"there is no pass {args.after!r}; there are lower, {', '.join(PASSES)}")
    if args.after in options.without_passes:
        raise UsageError(f"--after {args.after} and --no-pass {args.after} contradict each other")
    print(format_program(dict(stages(graph, options.without_passes))[args.after]), end="")
    return 0
