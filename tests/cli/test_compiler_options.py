"""The options that compile, explain and bench share."""

from __future__ import annotations

import argparse

import pytest

from nn512.cli.arguments import add_compiler_options, compiler_options, compiler_words
from nn512.errors import UsageError
from nn512.options import Options


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_compiler_options(parser)
    return parser.parse_args(words)


def test_defaults() -> None:
    assert compiler_options(parsed()) == Options()
    assert compiler_words(parsed()) == []


def test_all_of_them() -> None:
    words = ["--no-pass", "dedup", "--force", "direct", "--force", "conv1=pointwise", "--weights", "fp32"]
    args = parsed(*words)
    expected = Options(("dedup",), (("", "direct"), ("conv1", "pointwise")), "fp32")
    assert compiler_options(args) == expected
    assert compiler_words(args) == words


@pytest.mark.parametrize("force", [["=direct"], ["conv1="], [""], ["a", "b"], ["x=a", "x=b"]])
def test_senseless_force(force: list[str]) -> None:
    with pytest.raises(UsageError, match="--force"):
        compiler_options(parsed(*(word for text in force for word in ("--force", text))))
