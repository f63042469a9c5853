"""Weights as PyTorch and the package safetensors write them; and pickles that would like to run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn512.cli import main
from nn512.graph import parse
from nn512.params import load_params
from nn512.weights.safetensors import read_safetensors

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

TEXT = """
Config Prefix=Net
Input ToTensor=image Channels=3 Height=8 Width=8
Conv FromTensor=image ToTensor=t0 ToChannels=4 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
BatchNorm FromTensor=t0 ToTensor=t1
Pooling FromTensor=t1 ToTensor=pool Kind=Max2x2Stride2
FullyConnected FromTensor=pool ToTensor=t4 ToChannels=5
Output FromTensor=t4
"""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def net(torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The graph as a module, with weights that differ everywhere."""
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(TEXT)
    nn = torch.nn
    conv, linear = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(64, 5)
    net = nn.Sequential(conv, nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten(), linear)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape) + 0.5)
    return net.eval()


ALLOWED = ("--flatten", "--zero-biases")


def params(file: str, *arguments: str) -> int:
    return main(["params", "net.graph", "--from", file, *arguments, "-o", "p.npz"])


def check(net: Any) -> None:
    """Whether the parameters that were written are those of the module."""
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    read = load_params("p.npz", parse(TEXT))
    for ours, theirs in {
        "t0Weights": "0.weight",
        "t1Scales": "1.weight",
        "t1Shifts": "1.bias",
        "t1Means": "1.running_mean",
        "t1Variances": "1.running_var",
        "t4Weights": "4.weight",
        "t4Biases": "4.bias",
    }.items():
        np.testing.assert_array_equal(read[ours].ravel(), state[theirs].ravel())
    assert not read["t0Biases"].any()


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "parallel", "old"])
def test_state_dicts(torch: Any, net: Any, wrap: str) -> None:
    state: Any = net.state_dict()
    if wrap == "state_dict":
        state = {"epoch": 3, "state_dict": state}
    if wrap == "parallel":
        state = {f"module.{name}": value for name, value in state.items()}
    torch.save(state, "m.pt", _use_new_zipfile_serialization=wrap != "old")
    assert params("m.pt", *ALLOWED) == 0
    check(net)


def test_half_precision(torch: Any, net: Any) -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        net = net.to(kind)
        torch.save(net.state_dict(), "m.pth")
        assert params("m.pth", *ALLOWED) == 0
        net = net.float()
        check(net)


def test_safetensors_of_the_package(torch: Any, net: Any) -> None:
    package = pytest.importorskip("safetensors.torch")
    package.save_file(net.state_dict(), "m.safetensors")
    assert params("m.safetensors", *ALLOWED) == 0
    check(net)
    several = {str(kind): torch.arange(-3, 4).to(kind) for kind in (torch.bfloat16, torch.float16, torch.int8)}
    package.save_file(several, "several.safetensors")
    read = read_safetensors("several.safetensors")
    assert read["torch.bfloat16"].read().tolist() == read["torch.float16"].read().tolist() == [*range(-3, 4)]


class Code:
    """What a pickle that runs code looks like."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def hostile(torch: Any, net: Any) -> dict[str, bytes]:
    torch.save(net.state_dict(), "sound.pt")
    sound = Path("sound.pt").read_bytes()
    torch.save({"x": Code()}, "code.pt")
    torch.save(net, "module.pt")
    return {
        "pickle with code": pickle.dumps({"x": Code()}),
        "zip with code": Path("code.pt").read_bytes(),
        "whole module": Path("module.pt").read_bytes(),
        "truncated": sound[: len(sound) // 2],
        "first bytes": sound[:100],
        "empty": b"",
        "text": TEXT.encode(),
    }


def test_hostile_files(torch: Any, net: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in hostile(torch, net).items():
        Path("m.pt").write_bytes(data)
        assert params("m.pt", *ALLOWED) == 2, name
        assert "'m.pt' is broken or holds more than weights" in capsys.readouterr().err
        assert not Path("owned").exists()
        assert not Path("p.npz").exists()


@pytest.mark.parametrize("content", ["number", "list", "nothing"])
def test_no_state_dict(torch: Any, net: Any, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    del net
    torch.save({"number": 3, "list": [torch.zeros(2)], "nothing": {"epoch": 1}}[content], "m.pt")
    assert params("m.pt") == 2
    assert "holds no state dict" in capsys.readouterr().err


def test_odd_tensors(torch: Any, net: Any, capsys: pytest.CaptureFixture[str]) -> None:
    state = net.state_dict()
    state["4.bias"] = torch.eye(5).to_sparse()[0]
    torch.save(state, "m.pt")
    assert params("m.pt", *ALLOWED) == 2
    assert "'4.bias' is no ordinary tensor" in capsys.readouterr().err
    state["4.bias"] = torch.zeros(5, dtype=torch.complex64)
    torch.save(state, "m.pt")
    assert params("m.pt", *ALLOWED) == 2
    assert "of type complex64" in capsys.readouterr().err
