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
        "<Prefix>.plan.json holds, the profiles that `nn512 verify --source` takes and what it demands of C, or which "
        "operators of ONNX are read.",
    )
    parser.add_argument(
        "topic",
        metavar="TOPIC",
        nargs="?",
        help="a kind of node, such as Conv, or `plan`, `profiles`, `contract` or `onnx`",
    )
    parser.add_argument(
        "--spec",
        action="store_true",
        help="print what the reference says the kind means, or all kinds: text, edges and the code itself, as Markdown",
    )


def run(args: argparse.Namespace) -> int:
    """Print a manual or one section of it."""
    if args.spec:
        from reference.specification import specification

        text = specification(args.topic)
    elif args.topic == "profiles":
        from fuzz.judge.profiles import profile_manual

        text = profile_manual()
    elif args.topic == "contract":
        from fuzz.run.demands import contract

        text = contract()
    elif args.topic == "onnx":
        from nn512.onnx.support import support_table

        text = support_table()
    else:
        text = plan_manual() if args.topic == "plan" else manual(args.topic)
    print(text, end="")
    return 0
