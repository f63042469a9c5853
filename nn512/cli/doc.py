"""`nn512 doc`: prints the manual of the graph language."""

from __future__ import annotations

import argparse

from nn512.cli.arguments import Subparsers
from nn512.graph import manual


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "doc",
        help="print the manual of the graph language",
        description="Prints the manual of the graph language, or what it says about one kind of node.",
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", help="a kind of node, such as Conv")


def run(args: argparse.Namespace) -> int:
    """Print the manual or one section of it."""
    print(manual(args.kind), end="")
    return 0
