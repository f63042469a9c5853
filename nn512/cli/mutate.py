"""`nn512 mutate`: plants bugs in emitted C, one at a time, and counts how many of them the tester finds."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import (
    Subparsers,
    add_compiler_options,
    check_jobs,
    compiler_options,
    compiler_words,
    read_graph,
)
from nn512.cli.outputs import check_file
from nn512.errors import UsageError

if TYPE_CHECKING:
    from fuzz.mutation.judging import Judge

_AT_LEAST = 99.0
_PERIOD = 10.0
"""Seconds between lines of progress."""


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "mutate",
        help="plant bugs in emitted C and count those that are found",
        description="Compiles each graph, changes the C in one place at a time (a constant, a mask, a bound, an "
        "operator, an intrinsic, a statement left out, an address one element too far, a barrier), builds it, runs it "
        "in the sandbox on all kinds of data and compares with the reference, until something is wrong. What survives "
        "is listed: a hole in the tester, unless it is no bug. Mutants with the same object code, those that change "
        "prefetches or speed alone and those in code that no shape of the graph reaches are recognised and counted "
        "apart. Ends with 0 where enough of the others are found, else with 1.",
    )
    parser.add_argument("graphs", metavar="GRAPH", nargs="+", help="graph files of small nets")
    parser.add_argument("--limit", metavar="N", type=int, help="the first N mutants of each graph")
    parser.add_argument("--sample", metavar="N", type=int, help="N mutants of each graph, drawn by --seed")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="which ones --sample draws (default: 0)")
    parser.add_argument("--jobs", metavar="J", type=int, help="processes (default: one per processor)")
    parser.add_argument(
        "--at-least",
        metavar="PERCENT",
        type=float,
        default=_AT_LEAST,
        help=f"how many of 100 must be found (default: {_AT_LEAST:g})",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write what became of each mutant, a line of JSON for each"
    )
    add_compiler_options(parser)


def run(args: argparse.Namespace) -> int:
    """Judge the mutants and print the survivors and the score."""
    check_jobs(args.jobs)
    for name in ("limit", "sample"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1e9:
            raise UsageError(f"--{name} must be a positive number, not {value}")
    if not 0 <= args.at_least <= 100:
        raise UsageError(f"--at-least must be in 0 to 100, not {args.at_least:g}")
    if args.json is not None:
        check_file(args.json)
    judges = [_judge(path, args) for path in args.graphs]
    from fuzz.mutation.judging import Fate
    from fuzz.mutation.scoring import Choice, Score, score
    from fuzz.run.runners import runner_for

    print(runner_for().line, file=sys.stderr, flush=True)
    found, shown = Score(), time.monotonic()
    choice, jobs = Choice(args.limit, args.sample, args.seed), args.jobs or len(os.sched_getaffinity(0))
    with contextlib.nullcontext() if args.json is None else args.json.open("w", encoding="utf-8") as file:
        for result, total in score(judges, choice, jobs):
            found.results.append(result)
            if file is not None:
                print(json.dumps(result.to_dict()), file=file, flush=True)
            if result.fate is Fate.SURVIVED:
                print(*result.lines(), sep="\n", flush=True)
            if time.monotonic() - shown >= _PERIOD:
                shown = time.monotonic()
                done = f"{len(found.results)} of {total} mutants, {len(found.survivors)} survived"
                print(done, file=sys.stderr, flush=True)
    print(*found.lines(), sep="\n")
    return 0 if found.counted and found.percent >= args.at_least else 1


def _judge(path: str, args: argparse.Namespace) -> Judge:
    """Who judges the mutants of a graph. A file of the corpus says itself with which options it is compiled."""
    from fuzz.campaign.corpus import load_corpus_case
    from fuzz.mutation.judging import Judge
    from nn512.options import Options

    graph = read_graph(path)
    options = compiler_options(args)
    if path != "-" and not compiler_words(args) and graph.source.text.startswith("# case "):
        options = Options.from_dict(dict(load_corpus_case(Path(path)).options))
    return Judge(graph.source.text, path, options)
