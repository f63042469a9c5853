"""Other systems as targets: whatever becomes of their programs is told. The systems themselves: tests/peers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fuzz.draw import regimes
from fuzz.problem import Problem
from fuzz.targets import peers, systems
from fuzz.targets.base import Refused
from fuzz.targets.peers import Peer
from fuzz.targets.registry import target_names, target_of
from nn512.cli import main
from nn512.errors import CannotRunError, UsageError
from nn512.graph import parse
from nn512.options import Options

GRAPH = parse(
    "Config\nInput ToTensor=x Channels=2 Height=3 Width=3\nActivation FromTensor=x ToTensor=y Kind=ReLU\n"
    "Output FromTensor=y\n"
)
HEAD = """
import json, os, sys
import numpy as np
print(json.dumps({"version": "1"}), flush=True)
for line in sys.stdin:
    model, given, outputs = line.rstrip("\\n").split("\\t")
    x = np.load(given)["x"]
"""


class Answering:
    """A system played by a few lines of Python."""

    def __init__(self, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peers, "PROGRAM", program)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
        monkeypatch.setattr(peers, "export_onnx", lambda *_: None)
        self._program = program

    def says(self, body: str, seconds: float = 0.0) -> object:
        peers.end_all()
        lines = (f"    {line}" for line in [*body.splitlines(), "print(json.dumps(answer), flush=True)"])
        self._program.write_text(HEAD + "    answer = {}\n" + "\n".join(lines) + "\n")
        data = regimes.draw(GRAPH, "gaussian", 0)
        answers = Peer("played", "played", seconds=seconds).prepare(GRAPH, Options())
        return answers.outputs(data.params, data.inputs)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    yield Answering(tmp_path / "played.py", monkeypatch)
    peers.end_all()


def test_outputs_are_handed_on(played: Answering) -> None:
    found = played.says("np.savez(outputs, y=np.maximum(x, 0))")
    assert isinstance(found, dict)
    x = regimes.draw(GRAPH, "gaussian", 0).inputs["x"]
    assert np.array_equal(found["y"], np.maximum(x, 0))


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        ("os.abort()", "crash", "was ended by SIGABRT"),
        ("sys.exit('out of ideas')", "crash", "ended with exit code 1\nout of ideas"),
        ("answer = {'failed': 'KeyError: y'}", "failed", "KeyError: y"),
        ("np.savez(outputs, y=x[:1])", "shapes", "other names or shapes"),
        ("np.savez(outputs, z=x)", "shapes", "other names or shapes"),
        ("print('nonsense', flush=True); os.abort()", "crash", "was ended by SIGABRT"),
    ],
)
def test_what_goes_wrong_is_a_problem(played: Answering, body: str, kind: str, detail: str) -> None:
    problem = played.says(body)
    assert isinstance(problem, Problem)
    assert problem.kind == kind
    assert detail in problem.detail


@pytest.mark.parametrize(
    ("said", "key"),
    [
        (
            "net.c: In function 'net':\nnet.c:3:4: error: expected ')'\nnet.c:9:1: error: more\n",
            "net.c:3:4: error: expected ')'",
        ),
        ("options = 3\nloading\nno such layer: Mish\n", "no such layer: Mish"),
        ("", "nothing was said"),
    ],
)
def test_the_line_by_which_a_failure_is_known_comes_first(said: str, key: str) -> None:
    assert systems._key_first(said).splitlines()[0] == key


def test_where_the_batch_axis_is() -> None:
    """What pnnx writes of a net that is a 1x1 convolution, and of one that has none."""
    example = """
            ex.input("in0", ncnn.Mat(in0.numpy(), batch_index=0).clone())
            _, out10 = ex.extract("out10")
            out.append(torch.from_numpy(out10.numpy(batch_index=233)))
    """
    assert systems._batch_places(example) == {"in0": 0, "out10": 233}
    with pytest.raises(systems.RefusedError, match="a newer one does"):
        systems._batch_places("""ex.input("in0", ncnn.Mat(in0.squeeze(0).numpy()).clone())""")


def test_a_system_that_hangs(played: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to
    monkeypatch.setattr(peers, "ANSWER_TIMEOUT", 5.0)
    problem = played.says(f"open({str(tmp_path / 'pipe')!r}).read()")
    assert isinstance(problem, Problem)
    assert problem.kind == "timeout"


def test_how_long_a_system_may_take(played: Answering, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    problem = played.says(f"open({str(tmp_path / 'pipe')!r}).read()", seconds=0.2)
    assert isinstance(problem, Problem)
    assert problem.detail.startswith("played did not answer within 0.2 s")
    assert getattr(target_of("torch", "", 0.2), "seconds") == 0.2  # noqa: B009 - of peers alone


def test_a_system_that_died_is_started_again(played: Answering) -> None:
    assert isinstance(played.says("os.abort()"), Problem)
    assert isinstance(played.says("np.savez(outputs, y=x)"), dict)


def test_a_model_that_a_system_does_not_take(played: Answering) -> None:
    assert played.says("answer = {'refused': 'no Mish'}") == Refused("no Mish")


def test_a_system_that_does_not_start_is_no_finding(played: Answering, tmp_path: Path) -> None:
    played.says("np.savez(outputs, y=x)")
    peers.end_all()
    (tmp_path / "played.py").write_text("raise ImportError('libmissing.so')\n")
    data = regimes.draw(GRAPH, "gaussian", 0)
    with pytest.raises(CannotRunError, match="libmissing"):
        Peer("played", "played").prepare(GRAPH, Options()).outputs(data.params, data.inputs)


def test_a_system_that_is_not_installed() -> None:
    with pytest.raises(CannotRunError, match=r"not installed: no_such_package"):
        Peer("none", "no_such_package").prepare(GRAPH, Options())


@pytest.mark.parametrize("regime", regimes.REGIMES)
def test_systems_are_not_asked_what_onnx_does_not_say(regime: str) -> None:
    given = regimes.draw(GRAPH, regime, 0).inputs["x"]
    assert (regime in target_of("onnxruntime").skips) == (not np.isfinite(given).all())


def test_targets_by_name() -> None:
    assert {"nn512", "onnxruntime", "openvino", "emx-onnx-cgen"} <= set(target_names())
    assert target_of("openvino").name == "openvino"
    assert getattr(target_of("openvino-bf16"), "profile") == "bf16"  # noqa: B009 - of peers alone
    with pytest.raises(UsageError, match=r"no target 'tvm'; there are nn512, onnxruntime"):
        target_of("tvm")
    assert main(["fuzz", "--target", "tvm"]) == 2
    assert main(["fuzz", "--target", "command:cc"]) == 2
    assert main(["fuzz", "--target", "onnxruntime", "--kernels", "all"]) == 2
    with pytest.raises(UsageError, match="its plan names the algorithms"):
        target_of("nn512", "direct")


def test_a_finding_of_a_system_is_replayed_on_it(
    played: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.says("np.savez(outputs, y=x)")  # as if there were no ReLU
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(GRAPH.source.text)
    assert main(["verify", "net.graph", "--target", "onnxruntime", "--data", "exact"]) == 1
    (finding,) = Path("findings").iterdir()
    assert finding.name.startswith("onnxruntime-relu-values")
    assert main(["repro", str(finding)]) == 1
    played.says("np.savez(outputs, y=np.maximum(x, 0))")
    assert main(["repro", str(finding)]) == 0
    capsys.readouterr()
    assert main(["verify", "net.graph", "--target", "onnxruntime", "--source", "."]) == 2
    assert main(["verify", "net.graph", "--target", "onnxruntime", "--force", "direct"]) == 2
    assert "--force does not go with --target" in capsys.readouterr().err
