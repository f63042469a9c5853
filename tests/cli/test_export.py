"""`nn512 export` where the extra `peers` is missing, and what a user is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nn512.cli import main

TEXT = """
Config Prefix=Cli
Input ToTensor=image Channels=3 Height=6 Width=5
Conv FromTensor=image ToTensor=conv ToChannels=4 FilterH=3 FilterW=3
Output FromTensor=conv
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(TEXT)


def test_without_the_extra_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "net.graph", "net.onnx"]) == 3
    assert "pip install '.[onnx]' in a checkout of nn512" in capsys.readouterr().err
    assert not Path("net.onnx").exists()


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_export_is_repeatable(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    assert main(["export", "net.graph", "a.onnx"]) == 0
    assert main(["export", "net.graph", "b.onnx", "--random", "0"]) == 0
    assert main(["params", "net.graph", "-o", "p.npz"]) == 0
    assert main(["export", "net.graph", "c.onnx", "--params", "p.npz"]) == 0
    written = [Path(name).read_bytes() for name in ("a.onnx", "b.onnx", "c.onnx")]
    assert written[0] == written[1] == written[2]
    assert capsys.readouterr().out.splitlines()[0] == f"a.onnx: {len(written[0])} bytes"


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.graph", "no/net.onnx"], "cannot write"),
        (["net.graph", "net.onnx", "--params", "no.npz"], "cannot read"),
        (["net.graph", "net.onnx", "--random", "-1"], "seed"),
    ],
)
def test_what_cannot_be_exported(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
