"""`nn512 verify`: checks the C code of graphs, ours or anybody's, against the reference."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import (
    TIMEOUT,
    Subparsers,
    add_compiler_options,
    add_sanitize_option,
    add_target_option,
    add_threads_option,
    add_timeout_option,
    check_jobs,
    compiler_options,
    compiler_words,
    input_files,
    read_graph,
    sanitize,
)
from nn512.cli.nets import add_graphs_argument, add_report_options, check_report_options, is_single, report
from nn512.cli.onnx_arguments import add_cut_arguments, dims_of
from nn512.cli.outputs import check_directory
from nn512.cli.verify_edges import refuse_beside_edges, verify_edges
from nn512.errors import Nn512Error, UsageError
from nn512.graph import Graph

if TYPE_CHECKING:
    from fuzz.campaign.verifying import Wish
    from fuzz.draw.regimes import DataSet
    from nn512.options import Options

_SMALL_MAC, _MEDIUM_MAC = 30e6, 1e9
"""Nets of fewer multiply-accumulates are run on every kind of data, and on _MEDIUM data: the reference takes seconds
for each on larger ones."""

_MEDIUM = ("exact", "taps", "gaussian", "cancelling", "subnormal", "nan")
_LARGE = ("exact", "gaussian")
"""What shows the most: integers every wrong place, random numbers how everything is rounded."""


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "verify",
        help="check the C code of graphs against the reference",
        description="Compiles each graph, runs the C in a sandbox (guard pages, poisoned memory, 1 to 4 threads, "
        "bit-equal repetition) and compares every output with the reference: exactly where arithmetic is exact, "
        "elsewhere in sigma, the standard deviation that float32 may have. A failure is told with the layer at fault "
        "and what its wrong elements have in common, made small, and kept. Of several nets, or a folder, some are "
        "checked at once, with a line for each and a summary. Ends with 0 where all is well, 1 where something is "
        "wrong or nothing was shown, 2 for a mistake in a graph, 3 where this machine cannot judge; of several nets "
        "with the first of 1, 2, 3 that any of them has.",
    )
    add_graphs_argument(parser)
    parser.add_argument("--params", metavar="P.npz", type=Path, help="parameters (.npz or .bin; default: random)")
    parser.add_argument(
        "--input",
        metavar="NAME=X.npy",
        action="append",
        default=[],
        help="float32 array of channels x height x width for one input; once per input (default: random)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="seed of random data (default: 0)")
    parser.add_argument(
        "--data",
        metavar="REGIME",
        action="append",
        help="kind of random data, repeatable (default: all on small nets, a few on larger ones)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=4,
        help="run with 1 to N threads, from 4 on with 7, too (default: 4)",
    )
    parser.add_argument(
        "--source", metavar="DIR", type=Path, help="check <Prefix>.h and <Prefix>.c in DIR instead of compiling"
    )
    add_target_option(parser)
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="with --source or --target: how that C computes, such as winograd-fp16 or nn512-original, and so what "
        "errors it may make; `nn512 doc profiles` lists them (default: what <Prefix>.plan.json in DIR says; without "
        "one, direct)",
    )
    parser.add_argument(
        "--without",
        metavar="DEMAND",
        action="append",
        default=[],
        help="with --source or --target: let pass what it is at fault with beside values, by the name that `nn512 doc "
        "contract` has for it, such as leaks; repeatable",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("findings"), help="where a finding goes (default: findings)"
    )
    parser.add_argument(
        "--onnx",
        metavar="MODEL.onnx",
        type=Path,
        help="compare with the model that the graph was imported from, too: emitted C, reference and ONNX Runtime "
        "(where installed) on the same numbers; --dim, --from and --to as in the import; parameters are the model's",
    )
    parser.add_argument(
        "--shrink-time",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds for making the net of a failure small (default: 60)",
    )
    add_timeout_option(parser)
    parser.add_argument("--no-shrink", action="store_true", help="keep a failure as it is")
    parser.add_argument(
        "--edges",
        action="store_true",
        help="check every layer alone, by the kernel that it has in the net, on single numbers and small integers at "
        "all borders of its tiles, rows, columns and blocks of channels; prints which edge classes of which layers "
        "were verified so (+), or only with other layers (o). Ends with 1 as well where one was not (-)",
    )
    parser.add_argument(
        "--jobs", metavar="J", type=int, help="of several nets, check J at once (default: one per processor)"
    )
    add_report_options(parser)
    add_sanitize_option(parser)
    add_cut_arguments(parser)
    add_compiler_options(parser)
    add_threads_option(parser, "--for-threads")


def run(args: argparse.Namespace) -> int:
    """Verify graphs: of one a verdict per output and data set, of several a line each and a summary."""
    _check_bounds(args)
    words = [*compiler_words(args), *(["--for-threads"] if args.for_threads != 1 else [])]
    if args.source and words:
        raise UsageError(f"{words[0]} does not go with --source, which is compiled already")
    if args.target and words:
        raise UsageError(f"{words[0]} does not go with --target; it is an option of our compiler")
    if args.onnx is None and (args.dim or args.starts or args.ends):
        raise UsageError("--dim, --from and --to go with --onnx")
    if args.edges:
        refuse_beside_edges(args)
    check_report_options(args)
    options = compiler_options(args, args.for_threads)
    if not is_single(args.graphs):
        for name in ("params", "input", "source", "onnx", "edges"):
            if getattr(args, name):
                raise UsageError(f"--{name} goes with a single graph")
        check_directory(args.out, "--out")
        sanitize(args.sanitize)
        from nn512.cli.verify_many import verify_many

        return verify_many(args, lambda name: _wish_of(args, read_graph(name), options, name))
    if args.onnx is not None:
        return _with_model(args, read_graph(args.graphs[0]), options)
    if args.edges:
        return _verify_layers(args, options)
    return _verify_one(args, options)


def _verify_layers(args: argparse.Namespace, options: Options) -> int:
    """Verify the layers of a graph one by one."""
    graph = read_graph(args.graphs[0])
    check_directory(args.out, "--out")
    sanitize(args.sanitize)
    return verify_edges(graph, options, _wish_of(args, graph, options, args.graphs[0]))


def _check_bounds(args: argparse.Namespace) -> None:
    if not 1 <= args.threads <= 64:
        raise UsageError(f"--threads must be in 1 to 64, not {args.threads}")
    if not 0 <= args.seed < 1 << 32:
        raise UsageError(f"--seed must be in 0 to 2^32-1, not {args.seed}")
    if not 0 < args.shrink_time < 1e9:
        raise UsageError(f"--shrink-time must be a positive number, not {args.shrink_time:g}")
    if args.timeout is not None and not 0 < args.timeout < 1e6:
        raise UsageError(f"--timeout must be a positive number, not {args.timeout:g}")
    check_jobs(args.jobs)
    if args.profile and not (args.source or args.target):
        raise UsageError("--profile goes with --source or --target; our own plan names the algorithms")
    if args.without and not (args.source or args.target):
        raise UsageError("--without goes with --source or --target; our own C has to meet all demands")
    if args.source and args.target:
        raise UsageError("--source and --target both say what is checked")


def _wish_of(args: argparse.Namespace, graph: Graph, options: Options, name: str) -> Wish:
    """What shall be checked of a graph. Raises UsageError for a kernel or layer that does not exist."""
    from fuzz.campaign.verifying import Wish
    from fuzz.case import Case, DataSeed
    from fuzz.run.checks import Checks
    from fuzz.run.demands import waive
    from fuzz.targets import OURS

    if options.force:
        from nn512.compiler import compile as compile_graph

        compile_graph(graph, options)  # it would be the user's mistake and no finding
    # -O2 is what the documentation tells users to build with.
    case = Case(graph.source.text, options.to_dict(), "-O2")
    wish = Wish(
        name,
        case,
        args.threads,
        args.out,
        args.target or OURS.name,
        args.profile or "",
        args.source,
        0.0 if args.no_shrink else args.shrink_time,
        args.timeout or TIMEOUT,
        tuple(args.without),
        args.timeout or 0.0,
    )
    waive(Checks(), wish.without)  # a name that none has is the user's mistake
    skips = wish.subject().skips
    seeds = tuple(DataSeed(regime, args.seed) for regime in _regimes(args, graph) if regime not in skips)
    return replace(wish, case=replace(case, data=seeds))


def _verify_one(args: argparse.Namespace, options: Options) -> int:
    """Verify a graph, and tell everything on the way."""
    from fuzz.campaign.verifying import not_judged, verify
    from fuzz.case import DataSeed
    from fuzz.judge.profiles import profile_of
    from fuzz.run.runners import runner_for
    from nn512.cli.verify_many import result_of
    from nn512.cli.waiting import Waiting

    (name,) = args.graphs
    start = time.monotonic()
    waiting = Waiting()
    try:
        graph = read_graph(name)
        check_directory(args.out, "--out")
        if args.profile:
            profile_of(args.profile)  # a mistake shows before anything is run
        sanitize(args.sanitize)
        wish = _wish_of(args, graph, options, name)
        given = _given_data(args, graph)
        if given:
            seeds = tuple(DataSeed(data_set.regime, data_set.seed) for data_set in given)
            wish = replace(wish, case=replace(wish.case, data=seeds))
        print(runner_for().line, flush=True)
        found = verify(wish, waiting, given)
    except Nn512Error as error:
        found = not_judged(name, error)
        report(args, "verify", found.headline, [result_of(found, error)], time.monotonic() - start)
        raise
    finally:
        waiting.clear()
    report(args, "verify", found.headline, [result_of(found)], found.seconds)
    return found.code


def _with_model(args: argparse.Namespace, graph: Graph, options: Options) -> int:
    """Compare with the model, too; one line says what was found."""
    if args.source or args.data:
        raise UsageError(f"{'--source' if args.source else '--data'} does not go with --onnx")
    from nn512.arrays import load_array
    from nn512.cli.compare_onnx import compare
    from nn512.onnx import from_onnx
    from nn512.params import check_arrays, check_params, load_params

    dims = dims_of(args.dim)
    files = input_files(args.input, graph)
    imported = from_onnx(args.onnx, dims=dims, starts=args.starts, ends=args.ends, prefix=graph.config.prefix)
    params = check_params(graph, imported.params) if args.params is None else load_params(args.params, graph)
    shapes = {name: graph.input_shapes[name] for name in files}
    inputs = check_arrays("input", shapes, {name: load_array(path) for name, path in files.items()})
    verdict = compare(
        *(imported, graph, params, args.onnx),
        seed=args.seed,
        inputs=inputs,
        options=options,
        threads=args.threads,
    )
    print(verdict)
    return 0 if verdict.agrees else 1


def _regimes(args: argparse.Namespace, graph: Graph) -> list[str]:
    """The kinds of random data to run on."""
    from fuzz.draw.regimes import REGIMES
    from fuzz.run.checks import work_of

    if args.data or args.input:
        return args.data or ["gaussian"]
    work = work_of(graph)
    return list(REGIMES if work < _SMALL_MAC else _MEDIUM if work < _MEDIUM_MAC else _LARGE)


def _given_data(args: argparse.Namespace, graph: Graph) -> list[DataSet]:
    """The arrays given, completed by random ones; nothing where none are."""
    from fuzz.draw.regimes import GIVEN, DataSet, draw
    from nn512.arrays import load_array
    from nn512.params import check_arrays, load_params

    files = input_files(args.input, graph)
    if args.params is None and not files:
        return []
    params = None if args.params is None else load_params(args.params, graph)
    shapes = {name: graph.input_shapes[name] for name in files}
    inputs = check_arrays("input", shapes, {name: load_array(path) for name, path in files.items()})
    drawn = [draw(graph, regime, args.seed) for regime in _regimes(args, graph)]
    return [
        DataSet(GIVEN, number, d.params if params is None else params, {**d.inputs, **inputs})
        for number, d in enumerate(drawn)
    ]
