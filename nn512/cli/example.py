"""`nn512 example`: prints the graph of a well-known net."""

from __future__ import annotations

import argparse

from nn512.cli.arguments import Subparsers
from nn512.graph import example, example_names


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "example",
        help="print the graph of a well-known net",
        description="Prints the graph of a well-known net, below a comment that says its source and its variant; "
        "without a name, the names there are.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(example_names())}")


def run(args: argparse.Namespace) -> int:
    """Print one graph or the list of names."""
    print("\n".join(example_names()) + "\n" if args.name is None else example(args.name), end="")
    return 0
