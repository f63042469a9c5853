"""`nn512 doc`: prints the manual of the graph language, of plans, and of profiles."""

from __future__ import annotations

import argparse

from nn512.cli.arguments import Subparsers
from nn512.graph import manual
from nn512.plan.serial import plan_manual


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "doc",
        help="print the manual of the graph language",
        description="Prints the manual of the graph language, what it says about one kind of node, what the file "
        "<Prefix>.plan.json holds, or the profiles that `nn512 verify --source` takes.",
    )
    parser.add_argument(
        "topic", metavar="TOPIC", nargs="?", help="a kind of node, such as Conv, or `plan`, or `profiles`"
    )


def run(args: argparse.Namespace) -> int:
    """Print a manual or one section of it."""
    if args.topic == "profiles":
        from fuzz.judge.profiles import profile_manual

        print(profile_manual(), end="")
    else:
        print(plan_manual() if args.topic == "plan" else manual(args.topic), end="")
    return 0
