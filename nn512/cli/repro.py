"""`nn512 repro`: replays a finding."""

from __future__ import annotations

import argparse
from pathlib import Path

from nn512.cli.arguments import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "repro",
        help="replay a finding",
        description="Checks the case of a finding again, with today's compiler. Ends with 1 where it still fails.",
    )
    parser.add_argument("finding", metavar="FINDING", type=Path, help="folder of a finding, or a file of the corpus")
    parser.add_argument(
        "--emitted", action="store_true", help="check the C in the folder instead of compiling the graph again"
    )


def run(args: argparse.Namespace) -> int:
    """Replay one finding."""
    from fuzz.checker import Sources, check_case, check_sources, draw
    from fuzz.findings import load
    from fuzz.run.runners import runner_for
    from nn512.cli.verify import print_report
    from nn512.errors import UsageError
    from nn512.graph import parse

    stored = load(args.finding)
    graph = parse(stored.case.graph, str(args.finding))
    data = stored.data(graph)
    runner = runner_for(stored.case.compiler)
    print(runner.line, flush=True)
    if args.emitted or stored.profile:
        if stored.folder is None:
            raise UsageError(f"{args.finding}: there is no C beside it")
        sources = Sources.read(stored.folder, graph.config.prefix)
        report = check_sources(
            stored.case, graph, sources, data or draw(stored.case, graph), runner, profile=stored.profile, strict=False
        )
    else:
        report = check_case(stored.case, data, runner)
    print_report(report)
    return 0 if report.verified and not report.problems else 1
