"""`nn512 params` and `nn512 run`: a net from graph text to outputs, and what a user gets told on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nn512.cli import main
from nn512.graph import parse
from nn512.params import random_params, to_bytes

TEXT = """
Config Prefix=Cli
Input ToTensor=image Channels=3 Height=6 Width=5
Conv FromTensor=image ToTensor=conv ToChannels=4 FilterH=3 FilterW=3
Pooling FromTensor=conv ToTensor=pool Kind=AvgGlobal
Softmax FromTensor=pool ToTensor=prob
Output FromTensor=prob
Output FromTensor=conv
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(TEXT)
    np.save("x.npy", np.random.default_rng(0).standard_normal((3, 6, 5), np.float32))
    return tmp_path


def nn512(*arguments: str) -> int:
    return main(arguments)


def test_params_random_and_converted(capsys: pytest.CaptureFixture[str]) -> None:
    graph = parse(TEXT)
    assert nn512("params", "net.graph", "--random", "7", "-o", "p.npz") == 0
    assert nn512("params", "net.graph", "--from", "p.npz", "-o", "p.bin") == 0
    assert nn512("params", "net.graph", "--from", "p.bin", "-o", "q.npz") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: 2 parameters, 448 bytes" for name in ("p.npz", "p.bin", "q.npz")
    ]
    expected = random_params(graph, 7)
    assert {name: array.tolist() for name, array in np.load("q.npz").items()} == {
        name: array.tolist() for name, array in expected.items()
    }
    assert Path("p.bin").read_bytes() == to_bytes(graph, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.graph", "-o", "p.txt"], "'p.txt'"),
        (["net.graph", "--random", "-3", "-o", "p.npz"], "seed"),
        (["net.graph", "--from", "no.npz", "-o", "p.npz"], "cannot read 'no.npz'"),
        (["net.graph", "--from", "x.npy", "-o", "p.npz"], "'x.npy' is a single array"),
        (["net.graph", "--from", "net.graph", "-o", "p.npz"], "'net.graph' is not an .npz file"),
        (["net.graph", "-o", "no/p.npz"], "cannot write 'no/p.npz'"),
        (["no.graph", "-o", "p.npz"], "no.graph"),
    ],
)
def test_params_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert nn512("params", *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not Path("p.npz").exists()


@pytest.mark.usefixtures("runs_here")
def test_run_c_and_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert nn512("params", "net.graph", "-o", "p.npz") == 0
    common = ("run", "net.graph", "--params", "p.npz", "--input", "image=x.npy")
    assert nn512(*common, "-o", "c.npz") == 0
    assert nn512(*common, "--threads", "2", "-o", "c2.npz") == 0
    assert nn512(*common, "--backend", "reference", "-o", "r.npz") == 0
    ours, twice, expected = np.load("c.npz"), np.load("c2.npz"), np.load("r.npz")
    assert list(ours) == list(expected) == ["prob", "conv"]
    for name, value in expected.items():
        assert ours[name].dtype == np.float32
        np.testing.assert_array_equal(ours[name], twice[name])
        np.testing.assert_allclose(ours[name], value, atol=1e-5)
    assert "prob: 4x1x1 float32" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["c", "reference"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "image=x.npy"], "parameter 'convWeights' (4x3x3x3) is missing"),
        (["--params", "p.npz"], "input 'image' (3x6x5) is missing"),
        (["--params", "p.npz", "--input", "img=x.npy"], "no input 'img'; this graph has image"),
        (["--params", "p.npz", "--input", "x.npy"], "NAME=X.npy"),
        (["--params", "p.npz", "--input", "image=no.npy"], "cannot read 'no.npy'"),
        (["--params", "p.npz", "--input", "image=p.npz"], "'p.npz' is not an .npy array"),
        (["--params", "p.npz", "--input", "image=x64.npy"], "input 'image' is float64, not float32"),
        (["--params", "p.npz", "--input", "image=x.npy", "--input", "image=x.npy"], "given twice"),
        (["--params", "q.npz", "--input", "image=x.npy"], "'q.npz' does not fit the graph"),
        (["--params", "q.bin", "--input", "image=x.npy"], "'q.bin' does not fit the graph"),
    ],
)
def test_run_mistakes(capsys: pytest.CaptureFixture[str], backend: str, arguments: list[str], message: str) -> None:
    assert nn512("params", "net.graph", "-o", "p.npz") == 0
    np.save("x64.npy", np.zeros((3, 6, 5)))
    np.savez("q.npz", convWeights=np.zeros((4, 3, 3, 3), np.float32))
    Path("q.bin").write_bytes(bytes(444))
    assert nn512("run", "net.graph", *arguments, "--backend", backend, "-o", "out.npz") == 2
    assert message in capsys.readouterr().err
    assert not Path("out.npz").exists()


def test_an_input_of_pixels_is_an_array_of_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pixels.graph").write_text(TEXT.replace("Width=5", "Width=5 Order=HWC"))
    np.save("pixels.npy", np.load("x.npy").transpose(1, 2, 0))
    assert nn512("params", "net.graph", "--random", "7", "-o", "p.npz") == 0
    common = ("--params", "p.npz", "--backend", "reference")
    assert nn512("run", "net.graph", "--input", "image=x.npy", *common, "-o", "planes.npz") == 0
    assert nn512("run", "pixels.graph", "--input", "image=pixels.npy", *common, "-o", "pixels.npz") == 0
    planes, pixels = np.load("planes.npz"), np.load("pixels.npz")
    np.testing.assert_array_equal(pixels["conv"], planes["conv"])
    assert nn512("run", "pixels.graph", "--input", "image=x.npy", *common, "-o", "out.npz") == 2
    assert "input 'image' is 3x6x5, not 6x5x3" in capsys.readouterr().err


def test_the_reference_has_no_threads(capsys: pytest.CaptureFixture[str]) -> None:
    assert nn512("run", "net.graph", "--backend", "reference", "--threads", "2", "-o", "out.npz") == 2
    assert "--threads is for --backend c" in capsys.readouterr().err
