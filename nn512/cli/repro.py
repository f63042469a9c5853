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
    from fuzz.campaign.findings import load
    from fuzz.judge.checker import check_case
    from fuzz.judge.localize import localized
    from fuzz.judge.telling import told
    from fuzz.run.runners import runner_for
    from fuzz.targets import OURS, Folder, Target
    from nn512.errors import UsageError
    from nn512.graph import parse

    stored = load(args.finding)
    graph = parse(stored.case.graph, str(args.finding))
    data = stored.data(graph)
    runner = runner_for(stored.case.compiler)
    print(runner.line, flush=True)
    target: Target = OURS
    if args.emitted or stored.profile:
        if stored.folder is None:
            raise UsageError(f"{args.finding}: there is no C beside it")
        target = Folder(stored.folder, stored.profile)
    report = localized(check_case(stored.case, data, runner, target=target), runner)
    print(*told(report), sep="\n")
    return 0 if report.verified and not report.problems else 1
