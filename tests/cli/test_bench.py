"""`nn512 bench` from end to end on a tiny net, and what a user is told where it cannot measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
from nn512.bench import measuring
from nn512.cli import main
from nn512.errors import UsageError
from nn512.graph import Graph
from nn512.options import Options

TEXT = """
Config Prefix=Small
Input ToTensor=image Channels=3 Height=9 Width=9
Input ToTensor=file Channels=16 Height=7 Width=7
Conv FromTensor=image ToTensor=conv ToChannels=16 FilterH=3 FilterW=3
Add FromTensor1=conv FromTensor2=file ToTensor=sum
Pooling FromTensor=sum ToTensor=average Kind=AvgGlobal
FullyConnected FromTensor=average ToTensor=full ToChannels=10
Output FromTensor=full
Output FromTensor=conv
"""


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(TEXT)
    monkeypatch.setattr(measuring, "WARM_UP_NANOSECONDS", 1_000_000)
    monkeypatch.setattr(measuring, "REFRESH_NANOSECONDS", 100_000)


@pytest.fixture
def native(runs_here: str) -> None:
    if runs_here != "native":
        pytest.skip("measuring needs a processor with AVX-512F")


@pytest.mark.native
@pytest.mark.slow
@pytest.mark.usefixtures("native")
def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "net.graph", "--per-layer", "--runs", "6"]) == 0
    shown = capsys.readouterr()
    assert "Small: 0.000 GMAC, 0.0 MB of parameters, 1 thread\n" in shown.out
    assert "$ nn512 bench net.graph --per-layer --runs 6\n" in shown.out
    assert shown.out.index("All agree with the reference") < shown.out.index("median us")
    assert "6 inferences each, in 6 rounds of turns." in shown.out
    assert "FMA peak" in shown.out
    assert "Sum of the layers" in shown.out
    assert "measuring: 6 rounds" in shown.err


@pytest.mark.native
@pytest.mark.slow
@pytest.mark.usefixtures("native")
def test_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", "net.graph", "-o", "p.npz"]) == 0
    capsys.readouterr()
    assert main(["bench", "net.graph", "--params", "p.npz", "--json", "--runs", "40"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [system["name"] for system in data["systems"]] == ["nn512"]
    time = data["systems"][0]["microseconds"]
    assert 0 < time["least"] <= time["lower"] <= time["median"] <= time["upper"]
    assert (data["runs"], data["rounds"], time["count"]) == (42, 14, 42)  # runs are rounded up to whole bursts
    assert data["gmac"] == pytest.approx((16 * 27 * 49 + 160) / 1e9)
    assert data["largest_errors"]["nn512"] < 1e-6
    assert data["peak_gflops"]["median"] > 0
    assert data["layers"] == []


@pytest.mark.native
@pytest.mark.usefixtures("native")
def test_no_times_without_agreement(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    honest = reference.run

    def lie(*arguments: Any, **options: Any) -> Mapping[str, reference.Result]:
        results = honest(*arguments, **options)
        for result in results.values():
            value: npt.NDArray[np.float64] = result.value
            value.flat[0] += 0.1
        return results

    monkeypatch.setattr(reference, "run", lie)
    assert main(["bench", "net.graph"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no times: off the reference" in shown.err
    assert "nn512 by 0." in shown.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--against", "tvm"], 2, "no peer 'tvm'; there are onnxruntime, openvino"),
        (["--against", "openvino,openvino"], 2, "'openvino' is named twice"),
        (["--threads", "0"], 2, "--threads"),
        (["--threads", "100000"], 2, "--threads"),
        (["--runs", "0"], 2, "--runs"),
        (["--params", "no.npz"], 2, "cannot read"),
    ],
)
def test_what_cannot_be_asked(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "net.graph", *arguments]) == code
    assert message in capsys.readouterr().err


def test_kernels_are_chosen_for_the_threads_that_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Options] = []

    def compiled(_: Graph, options: Options) -> None:
        asked.append(options)
        raise UsageError("enough")

    monkeypatch.setattr(measuring, "choose_cpus", lambda threads: tuple(range(threads)))
    monkeypatch.delenv("NN512_RUNNER", raising=False)
    monkeypatch.setattr("nn512.toolchain.has_avx512", lambda _: True)
    monkeypatch.setattr(measuring, "compile_graph", compiled)
    assert main(["bench", "net.graph", "--threads", "3", "--weights", "fp32"]) == 2
    assert asked == [Options(weights="fp32", threads=3)]


def test_missing_peers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["bench", "net.graph", "--against", "openvino,openvino_default"]) == 3
    assert "not installed: openvino, onnx; pip install '.[peers]' in a checkout of nn512" in capsys.readouterr().err


def test_emulation_is_not_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NN512_RUNNER", "soft")
    assert main(["bench", "net.graph"]) == 3
    assert "NN512_RUNNER=soft" in capsys.readouterr().err


def test_processors_without_the_instructions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NN512_RUNNER", raising=False)
    monkeypatch.setattr("nn512.toolchain.has_avx512", lambda _: False)
    assert main(["bench", "net.graph"]) == 3
    assert "nn512: " in capsys.readouterr().err


def test_processors_without_bfloat16(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NN512_RUNNER", raising=False)
    monkeypatch.setattr("nn512.toolchain.has_avx512", lambda _: True)
    monkeypatch.setattr("nn512.toolchain.has_bfloat16", lambda _: False)
    words = ["--platform", "AVX512BFloat16", "--force", "direct-bf16"]
    assert main(["bench", "net.graph", *words]) == 3
    assert "this processor has no AVX512_BF16" in capsys.readouterr().err


@pytest.mark.native
@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.usefixtures("native")
@pytest.mark.filterwarnings("ignore")  # what others warn about while they load is theirs
def test_peers_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    modules = ["onnxruntime", "openvino", "emx_onnx_cgen"]
    peers = [*modules, "openvino_default"]
    for module in ("onnx", *modules):
        pytest.importorskip(module, reason=f"{module} is not installed: no peers measured")
    assert main(["bench", "net.graph", "--against", ",".join(peers), "--json", "--runs", "3"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [system["name"] for system in data["systems"]] == ["nn512", *peers]
    assert all(error < 1e-5 for name, error in data["largest_errors"].items() if name != "openvino_default")
    assert [system["ratio"] is None for system in data["systems"]] == [True, *[False] * len(peers)]
    assert all(system["version"][0].isdigit() for system in data["systems"])
