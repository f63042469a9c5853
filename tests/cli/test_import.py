"""`nn512 import` and `nn512 verify --onnx`: files, messages, and what is compared."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fuzz.judge.checker
import fuzz.targets.ours
import nn512
import nn512.cli.compare_onnx
from fuzz.problem import Problem
from nn512.cli import main
from nn512.compiler import Emitted
from nn512.graph import Graph, load, parse
from nn512.onnx import export_onnx
from nn512.options import Options
from nn512.params import load_params, random_params

TEXT = """
Config
Input ToTensor=image Channels=3 Height=6 Width=5
Conv FromTensor=image ToTensor=conv ToChannels=4 FilterH=3 FilterW=3
Activation FromTensor=conv ToTensor=relu Kind=ReLU
FullyConnected FromTensor=relu ToTensor=scores ToChannels=3
Output FromTensor=scores
"""
ALL = ["import", "net.onnx", "-o", "net.graph", "--params", "net.npz"]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> dict[str, Any]:
    """net.onnx, and its parameters."""
    pytest.importorskip("onnx", reason="onnx is not installed: the command line not tried on models")
    graph = parse(TEXT)
    params = random_params(graph, 0)
    export_onnx("net.onnx", graph, params)
    return params


def test_without_the_package_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    Path("net.onnx").write_bytes(b"")
    assert main(ALL) == 3
    assert "reading ONNX needs the package onnx" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["net.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dim", "n"], "--dim takes NAME=N"),
        (["--dim", "n=0"], "--dim takes NAME=N"),
        (["--dim", "n=1", "--dim", "n=2"], "--dim n is given twice"),
        (["--map", "net.graph"], "two results would be written to one file"),
        (["--map", "none/map.json"], "cannot write"),
        (["--params", "net.txt"], ".npz or .bin"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ALL, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("runs_here")
def test_files_and_a_verdict(model: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ALL, "--map", "map.json", "--prefix", "Cli"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "net.graph: 3 layers; 4 parameters, 1,036 bytes"
    assert out[1].startswith("verified: scores: emitted C within ")
    assert len(out) == 2
    graph = load("net.graph")
    assert graph.config.prefix == "Cli"
    for name, array in load_params("net.npz", graph).items():
        np.testing.assert_array_equal(array, model[name])
    names = json.loads(Path("map.json").read_text())
    assert names["inputs"] == [{"onnx": "image", "tensor": "image", "shape": [1, 3, 6, 5], "axes": ["", "C", "H", "W"]}]
    assert names["parameters"] == {"convWeights": "convWeights", "scoresWeights": "scoresWeights"}


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_no_verdict_where_none_is_asked(model: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert main([*ALL, "--no-verify"]) == 0
    assert "verified" not in capsys.readouterr().out


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_parameters_need_a_file(model: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert main(ALL[:4]) == 2
    assert "the model has 4 parameters: --params NET.npz says where they go" in capsys.readouterr().err
    assert not Path("net.graph").exists()


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("runs_here")
def test_part_of_a_model(model: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert main([*ALL, "--from", "conv", "--to", "relu"]) == 0
    assert load("net.graph").shapes == {"conv": (4, 4, 3), "relu": (4, 4, 3)}
    assert "verified: relu" in capsys.readouterr().out
    assert main([*ALL, "--to", "nothing"]) == 2
    assert "--to: the model has no tensor 'nothing'" in capsys.readouterr().err


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("runs_here")
def test_a_changed_graph_is_found(model: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to compare with")
    verify = ["verify", "net.graph", "--onnx", "net.onnx"]
    assert main([*ALL, "--no-verify"]) == 0
    assert main(verify) == 0
    assert "ONNX Runtime" in capsys.readouterr().out
    text = Path("net.graph").read_text()
    Path("net.graph").write_text(text.replace("Param=0 ", "Param=0.25 "))
    assert main(verify) == 1
    out = capsys.readouterr().out
    assert out.startswith("NOT verified: scores: ONNX Runtime")
    assert "the first tensor that differs is relu, 'relu' of the model: ONNX Runtime" in out
    Path("net.graph").write_text(text.replace("scores", "points"))
    assert main(verify) == 2


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("runs_here")
def test_without_onnxruntime_the_verdict_says_so(
    model: dict[str, Any],  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(ALL) == 0
    assert "ONNX Runtime is not installed and was not asked" in capsys.readouterr().out


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("runs_here")
def test_wrong_c_is_found(
    model: dict[str, Any],  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = fuzz.judge.checker.check_case

    def check(*arguments: Any) -> Any:
        return dataclasses.replace(real(*arguments), problems=(Problem("values", "scores: WRONG: 3 of 3"),))

    monkeypatch.setattr(nn512.cli.compare_onnx, "check_case", check)
    assert main(ALL) == 1
    out = capsys.readouterr().out
    assert "NOT verified: scores: the emitted C: scores: WRONG: 3 of 3" in out
    assert "see: nn512 verify net.graph --onnx net.onnx" in out


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("model", "runs_here")
def test_where_c_goes_wrong_is_looked_up_by_the_same_runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever runs programs here: the processor, or portable intrinsics without being asked for."""
    monkeypatch.delenv("NN512_RUNNER", raising=False)
    real = nn512.compile

    def compile_wrong(graph: Graph, options: Options | None = None) -> Emitted:
        emitted = real(graph, options)
        assert "_mm512_max_ps(" in emitted.source
        return dataclasses.replace(emitted, source=emitted.source.replace("_mm512_max_ps(", "_mm512_min_ps("))

    monkeypatch.setattr(fuzz.targets.ours, "compile_graph", compile_wrong)
    monkeypatch.setattr(nn512.cli.compare_onnx, "compile_graph", compile_wrong)
    assert main(ALL) == 1
    out = capsys.readouterr().out
    assert "NOT verified: scores: the emitted C: scores: WRONG" in out
    assert "the first tensor that differs is relu, 'relu' of the model: the emitted C" in out


@pytest.mark.parametrize("words", [["--dim", "a=1"], ["--from", "a"], ["--to", "a"]])
def test_words_that_go_with_a_model(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.graph").write_text(TEXT)
    assert main(["verify", "net.graph", *words]) == 2
    assert "--dim, --from and --to go with --onnx" in capsys.readouterr().err
