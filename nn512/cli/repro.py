"""`nn512 repro`: replays a finding, a case of the corpus, or a case that a campaign has named."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import Subparsers, add_sanitize_option, sanitize

if TYPE_CHECKING:
    from fuzz.campaign.stored import Stored


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "repro",
        help="replay a finding or a case of a campaign",
        description="Checks a case again, with today's compiler, on the runner and with the C compiler that found it "
        "where they are here. An edited net.graph in the folder of a finding is what is checked. Edited arrays "
        "are used where a user gave them; others are drawn again from their seed. Ends with 1 where it fails.",
    )
    parser.add_argument(
        "finding",
        metavar="FINDING",
        help="folder of a finding, a file of the corpus or its name, or the name of a case as a campaign prints it, "
        "such as 1000.50-a237c31b0ae8, which is drawn again",
    )
    parser.add_argument(
        "--emitted", action="store_true", help="check the C in the folder instead of compiling the graph again"
    )
    add_sanitize_option(parser)


def run(args: argparse.Namespace) -> int:
    """Replay one case."""
    from fuzz.judge.telling import told

    stored = _stored(args.finding)
    sanitize(args.sanitize)
    if args.sanitize:
        stored = replace(stored, runner="")
    runner, remark = stored.choose_runner()
    print(runner.line, flush=True)
    if remark:
        print(f"nn512: {remark}", file=sys.stderr)
    if stored.is_edited and not args.emitted and not stored.is_given:
        print(
            f"nn512: {stored.folder}/net.graph was edited since it was found; it is checked as it is now",
            file=sys.stderr,
        )
    for remark in stored.unused():
        print(f"nn512: {remark}", file=sys.stderr)
    report = stored.check(runner, emitted=args.emitted)
    print(*told(report), sep="\n")
    return 0 if report.verified else 1


def _stored(text: str) -> Stored:
    from fuzz.campaign.explore import regenerate
    from fuzz.campaign.stored import Stored, load, named_in_corpus

    path = Path(text)
    if not path.exists():
        if (case := regenerate(text)) is not None:
            return Stored(case)
        if (known := named_in_corpus(text)) is not None:
            return known
    return load(path)
