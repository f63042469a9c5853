"""`nn512 params --from` a state dict: what is written, and that nothing is where something is wrong."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from nn512.arrays import save_arrays
from nn512.cli import main
from nn512.graph import parse
from nn512.params import load_params

TEXT = """
Config Prefix=Cli
Input ToTensor=image Channels=3 Height=6 Width=5
Conv FromTensor=image ToTensor=conv1 ToChannels=4 FilterH=3 FilterW=3
FullyConnected FromTensor=conv1 ToTensor=fc ToChannels=2
Output FromTensor=fc
"""

STATE = {
    "conv1.weight": np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3),
    "conv1.bias": np.arange(4, dtype=np.float32),
    "fc.weight": np.arange(96, dtype=np.float32).reshape(2, 48),
}


def save(path: Path, arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> None:
    """Write a .safetensors file."""
    header, data = {}, b""
    for name, array in arrays.items():
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": place}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(TEXT)
    save(Path("m.safetensors"), STATE)
    save_arrays("m.npz", STATE)
    return tmp_path


def params(*arguments: str) -> int:
    return main(["params", "net.graph", *arguments])


@pytest.mark.parametrize("file", ["m.safetensors", "m.npz"])
@pytest.mark.parametrize("output", ["p.npz", "p.bin"])
def test_a_state_dict(file: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert params("--from", file, "--flatten", "--zero-biases", "-o", output) == 0
    assert capsys.readouterr().out == f"{output}: 4 parameters, 840 bytes\n"
    read = load_params(output, parse(TEXT))
    np.testing.assert_array_equal(read["conv1Weights"], STATE["conv1.weight"])
    np.testing.assert_array_equal(read["fcWeights"].ravel(), STATE["fc.weight"].ravel())
    np.testing.assert_array_equal(read["fcBiases"], [0, 0])


def test_a_map() -> None:
    save(Path("m.safetensors"), {name.replace("conv1", "features.0"): array for name, array in STATE.items()})
    Path("map.json").write_text('{"parameters": {"conv1Weights": "features.0.weight"}}')
    assert params("--from", "m.safetensors", "--flatten", "--zero-biases", "--map", "map.json", "-o", "p.npz") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "m.safetensors"], ["fcBiases (2)", "use --flatten", "--zero-biases"]),
        (["--from", "m.safetensors", "--map", "no.json"], ["cannot read 'no.json'"]),
        (["--from", "no.safetensors"], ["cannot read 'no.safetensors'"]),
        (["--from", "net.safetensors"], ["is no sound .safetensors file"]),
        (["--random", "1", "--flatten"], ["are for what --from FILE holds"]),
        (["--from", "p.bin", "--flatten"], ["'p.bin' has no names"]),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.safetensors").write_text(TEXT)
    before = sorted(Path().iterdir())
    assert params(*arguments, "-o", "out.npz") == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert sorted(Path().iterdir()) == before


def test_a_result_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.npz").write_bytes(b"before")
    assert params("--from", "m.safetensors", "-o", "p.npz") == 2
    assert Path("p.npz").read_bytes() == b"before"
    assert "'m.safetensors' does not fit the graph:" in capsys.readouterr().err


def test_names_are_never_paths(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    save(Path("m.safetensors"), {**STATE, "../../escaped.npz": STATE["conv1.bias"]})
    assert params("--from", "m.safetensors", "-o", "p.npz") == 2
    assert "'../../escaped.npz' (4)" in capsys.readouterr().err
    assert not (directory.parents[1] / "escaped.npz").exists()
