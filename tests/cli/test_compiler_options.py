"""The options that compile, explain and bench share."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from nn512.cli import main
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
    words += ["--platform", "AVX512BFloat16"]
    args = parsed(*words)
    expected = Options(("dedup",), (("", "direct"), ("conv1", "pointwise")), "fp32", 1, "AVX512BFloat16")
    assert compiler_options(args) == expected
    assert compiler_options(args, 2) == dataclasses.replace(expected, threads=2)
    assert compiler_words(args) == words


@pytest.mark.parametrize("force", [["=direct"], ["conv1="], [""], ["a", "b"], ["x=a", "x=b"]])
def test_senseless_force(force: list[str]) -> None:
    with pytest.raises(UsageError, match="--force"):
        compiler_options(parsed(*(word for text in force for word in ("--force", text))))


NET = """\
Config Prefix=Net
Input ToTensor=x Channels=512 Height=7 Width=7
Conv FromTensor=x ToTensor=y ToChannels=512 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=y
"""


def test_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "net.graph"
    graph.write_text(NET)
    assert main(["compile", str(graph), str(tmp_path), "--threads", "8"]) == 0
    assert "Kernels are chosen for 8 threads" in (tmp_path / "Net.c").read_text()
    assert '"threads": 8,' in (tmp_path / "Net.plan.json").read_text()
    capsys.readouterr()
    for number, cores in (("1", "one core"), ("8", "8 cores")):
        assert main(["explain", str(graph), "--threads", number]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert printed.count(f" us predicted on {cores}") == 3
    assert main(["explain", str(graph), "--threads", "0"]) == 2
    assert "kernels are chosen for 1 to 1024 threads, not for 0" in capsys.readouterr().err
