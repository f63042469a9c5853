"""What the subcommands share that read ONNX models: which part of a model, and at what size."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nn512.errors import UsageError

INSTALL = "Needs the package onnx: pip install '.[onnx]' in a checkout of nn512"
"""What help says about the package."""


def add_cut_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what of a model is read."""
    parser.add_argument(
        "--dim",
        metavar="NAME=N",
        action="append",
        default=[],
        help="an extent that the model leaves open, by its symbol or as INPUT.AXIS; repeatable (an open batch is 1)",
    )
    parser.add_argument(
        "--from",
        dest="starts",
        metavar="TENSOR",
        action="append",
        default=[],
        help="read the model from this tensor on, which becomes an input; repeatable",
    )
    parser.add_argument(
        "--to",
        dest="ends",
        metavar="TENSOR",
        action="append",
        default=[],
        help="read the model up to this tensor, which becomes an output; repeatable (default: the model's outputs)",
    )


def dims_of(given: Sequence[str]) -> dict[str, int]:
    """What `--dim` said. Raises UsageError."""
    dims: dict[str, int] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        if not (name and equals and number.isascii() and number.isdigit() and 0 < len(number) < 10 and int(number)):
            raise UsageError(f"--dim takes NAME=N with N from 1, not {text!r}")
        if name in dims:
            raise UsageError(f"--dim {name} is given twice")
        dims[name] = int(number)
    return dims
