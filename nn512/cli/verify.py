"""`nn512 verify`: checks the C code of a graph, ours or anybody's, against the reference."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import (
    Subparsers,
    add_compiler_options,
    add_graph_argument,
    add_sanitize_option,
    add_target_option,
    add_threads_option,
    compiler_options,
    compiler_words,
    input_files,
    read_graph,
    sanitize,
)
from nn512.cli.onnx_arguments import add_cut_arguments, dims_of
from nn512.cli.outputs import check_directory
from nn512.errors import UsageError
from nn512.graph import Graph, multiply_accumulates

if TYPE_CHECKING:
    from fuzz.campaign.effort import Effort
    from fuzz.case import Case
    from fuzz.draw.regimes import DataSet
    from fuzz.judge.report import Report
    from nn512.options import Options

_SMALL_MAC = 30e6
"""Nets of fewer multiply-accumulates are run on every kind of data; the reference takes seconds for larger ones."""

_SHOWN = 20
"""Lines of a small net that are shown."""


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "verify",
        help="check the C code of a graph against the reference",
        description="Compiles a graph, runs the C in a sandbox (guard pages, poisoned memory, 1 to 4 threads, "
        "bit-equal repetition) and compares every output with the reference: exactly where arithmetic is exact, "
        "elsewhere in sigma, the standard deviation that float32 may have. A failure is told with the layer at fault "
        "and what its wrong elements have in common, made small, and kept. Ends with 0 where all is well, else with 1.",
    )
    add_graph_argument(parser)
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
        "--data", metavar="REGIME", action="append", help="kind of random data, repeatable (default: all on small nets)"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=4, help="run with 1 to N threads (default: 4)")
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
    parser.add_argument("--no-shrink", action="store_true", help="keep a failure as it is")
    add_sanitize_option(parser)
    add_cut_arguments(parser)
    add_compiler_options(parser)
    add_threads_option(parser, "--for-threads")


def run(args: argparse.Namespace) -> int:
    """Verify one graph; prints a verdict per output and data set."""
    graph = read_graph(args.graph)
    if not 1 <= args.threads <= 64:
        raise UsageError(f"--threads must be in 1 to 64, not {args.threads}")
    if not 0 <= args.seed < 1 << 32:
        raise UsageError(f"--seed must be in 0 to 2^32-1, not {args.seed}")
    if not 0 < args.shrink_time < 1e9:
        raise UsageError(f"--shrink-time must be a positive number, not {args.shrink_time:g}")
    if args.profile and not (args.source or args.target):
        raise UsageError("--profile goes with --source or --target; our own plan names the algorithms")
    if args.source and args.target:
        raise UsageError("--source and --target both say what is checked")
    words = [*compiler_words(args), *(["--for-threads"] if args.for_threads != 1 else [])]
    if args.source and words:
        raise UsageError(f"{words[0]} does not go with --source, which is compiled already")
    if args.target and words:
        raise UsageError(f"{words[0]} does not go with --target; it is an option of our compiler")
    if args.onnx is None and (args.dim or args.starts or args.ends):
        raise UsageError("--dim, --from and --to go with --onnx")
    options = compiler_options(args, args.for_threads)
    if args.onnx is not None:
        return _with_model(args, graph, options)
    check_directory(args.out, "--out")
    if options.force:
        from nn512.compiler import compile as compile_graph

        compile_graph(graph, options)  # a kernel or layer that does not exist is the user's mistake and no finding
    from fuzz.campaign.effort import Effort
    from fuzz.campaign.findings import save, save_unfinished
    from fuzz.case import Case, DataSeed
    from fuzz.judge.checker import check_case
    from fuzz.judge.localize import localized
    from fuzz.judge.profiles import profile_of
    from fuzz.judge.telling import told
    from fuzz.run.checks import checks_for
    from fuzz.run.runners import runner_for
    from fuzz.targets import OURS, Folder, Target
    from fuzz.targets.registry import target_of

    if args.profile:
        profile_of(args.profile)  # a mistake shows before anything is run
    sanitize(args.sanitize)
    target: Target = OURS if args.source is None else Folder(args.source, args.profile or "")
    if args.target:
        target = target_of(args.target, args.profile or "")
    data = [data_set for data_set in _data_sets(args, graph) if data_set.regime not in target.skips]
    runner = runner_for()
    print(runner.line, flush=True)
    # -O2 is what the documentation tells users to build with.
    seeds = tuple(DataSeed(d.regime, d.seed) for d in data)
    case = Case(graph.source.text, options.to_dict(), "-O2", seeds)
    checks = checks_for(graph, args.threads)
    report = localized(check_case(case, data, runner, checks, target))
    print(*told(report), sep="\n", flush=True)
    if not report.problems:
        return 0 if report.verified else 1
    effort = Effort(seconds=args.shrink_time, tell=_show)
    unfinished = None
    if not args.no_shrink and args.source is None:
        unfinished = save_unfinished(report, args.out)  # should shrinking not come to an end
        report = _shrunk(report, functools.partial(check_case, runner=runner, target=target), effort)
    finding = save(report, args.out, replaces=unfinished, how=effort.told if effort.done else "not shrunk")
    print(f"{finding.identity}\nkept in {finding.path}")
    return 1


def _show(done: int, of: int) -> None:
    """Say on standard error that a failure is being made small: on a terminal each case, elsewhere the first."""
    if sys.stderr.isatty():
        print(f"\r\x1b[Kshrinking, {done} of {of}", end="", file=sys.stderr, flush=True)
    elif done == 1:
        print(f"shrinking, with up to {of} cases (--no-shrink leaves it out)", file=sys.stderr, flush=True)


def _shrunk(report: Report, look: Callable[[Case], Report], effort: Effort) -> Report:
    """The failure that `look` sees made small; what a user gave is replaced by drawn data, if they show it as well."""
    from fuzz.campaign.shrink import kinds, shrink
    from fuzz.case import DataSeed
    from fuzz.draw.regimes import GIVEN, REGIMES
    from fuzz.judge.localize import localized

    start = report
    if any(seed.regime == GIVEN for seed in report.case.data):
        drawn = replace(report.case, data=tuple(DataSeed(regime, 0) for regime in REGIMES))
        start = look(drawn) if effort.spend() else report
        if not kinds(start) & kinds(report):
            print("not shrunk: random data do not show it, and the arrays given fit this graph only")
            return report
    small = shrink(start, look, localized, effort)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print(f"{effort.told}, to {len(small.graph.layers)} of {len(report.graph.layers)} layers:")
    lines = small.case.graph.splitlines()
    print(*(f"  {line}" for line in (lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], "..."])), sep="\n")
    return small


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


def _data_sets(args: argparse.Namespace, graph: Graph) -> list[DataSet]:
    """What to run on: the arrays given, completed by random ones."""
    from fuzz.draw.regimes import GIVEN, REGIMES, DataSet, draw
    from nn512.arrays import load_array
    from nn512.params import check_arrays, load_params

    files = input_files(args.input, graph)
    params = None if args.params is None else load_params(args.params, graph)
    shapes = {name: graph.input_shapes[name] for name in files}
    inputs = check_arrays("input", shapes, {name: load_array(path) for name, path in files.items()})
    small = sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers) < _SMALL_MAC
    regimes = args.data or (["gaussian"] if inputs or not small else list(REGIMES))
    drawn = [draw(graph, regime, args.seed) for regime in regimes]
    if params is None and not inputs:
        return drawn
    return [
        DataSet(GIVEN, number, d.params if params is None else params, {**d.inputs, **inputs})
        for number, d in enumerate(drawn)
    ]
