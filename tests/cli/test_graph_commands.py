"""`nn512 check`, `doc`, `example` and `compile`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from nn512.cli import main
from nn512.graph import example, example_names, manual

SMALL = """\
Config Prefix=Small
Input ToTensor=image Channels=3 Height=32 Width=32
Conv FromTensor=image ToTensor=conv ToChannels=16 FilterH=3 FilterW=3
BatchNorm FromTensor=conv ToTensor=norm
Add FromTensor1=norm FromTensor2=conv ToTensor=sum
FullyConnected FromTensor=sum ToTensor=logits ToChannels=10
Output FromTensor=logits
"""

SMALL_CHECKED = """\
line  node            tensor  shape                             MMAC  parameters
--------------------------------------------------------------------------------
   2  Input           image   3x32x32
   3  Conv            conv    3x32x32 -> 16x30x30              0.389         448
   4  BatchNorm       norm    16x30x30 -> 16x30x30                            64
   5  Add             sum     16x30x30 + 16x30x30 -> 16x30x30
   6  FullyConnected  logits  16x30x30 -> 10x1x1               0.144     144,010
   7  Output          logits  10x1x1

Small: 1 input, 4 layers, 1 output
0.533 MMAC, 0.389 of them in convolutions
144,522 parameters, 578,088 bytes
"""


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    feed(monkeypatch, SMALL)
    assert main(["check", "-"]) == 0
    assert capsys.readouterr().out == SMALL_CHECKED


def test_check_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    feed(monkeypatch, SMALL)
    assert main(["check", "--quiet", "-"]) == 0
    assert capsys.readouterr().out == ""


def test_check_reports_standard_input_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, "Config Colour=red")
    assert main(["check", "-"]) == 2
    assert capsys.readouterr().err.startswith("<stdin>:1:8: error: Config has no field 'Colour'\n")


def test_doc(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doc"]) == 0
    assert capsys.readouterr().out == manual()
    assert main(["doc", "Pooling"]) == 0
    assert capsys.readouterr().out == manual("Pooling")
    assert main(["doc", "Pool"]) == 2
    assert capsys.readouterr().err == "nn512: there is no node kind 'Pool'; did you mean Pooling?\n"


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example"]) == 0
    assert capsys.readouterr().out.split() == list(example_names())
    assert main(["example", "ResNeXt50"]) == 0
    assert capsys.readouterr().out == example("ResNeXt50")
    assert main(["example", "AlexNet"]) == 2
    assert "there is no example 'AlexNet'" in capsys.readouterr().err


def test_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    feed(monkeypatch, SMALL)
    folder = tmp_path / "new" / "folder"
    assert main(["compile", "-", str(folder)]) == 0
    names = ["Small.c", "Small.h", "Small.plan.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(capsys.readouterr().out.split()) == [str(folder / name) for name in names]


def test_compile_where_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    feed(monkeypatch, SMALL)
    (tmp_path / "file").write_text("")
    assert main(["compile", "-", f"{tmp_path}/file"]) == 2
    assert "cannot write to" in capsys.readouterr().err
