"""Arrays of equal, repeated or sorted numbers, which engineers try first: right C is verified, wrong C is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import nn512
import reference
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import draw
from fuzz.judge.algorithms import rounding_of
from fuzz.judge.checker import check_case
from fuzz.judge.compare import Verdict, judge
from fuzz.judge.limits import LIMITS
from fuzz.run.build import build_net
from fuzz.run.checks import QUICK, Checks
from fuzz.run.runners import runner_for
from fuzz.run.sandbox import execute
from fuzz.targets.base import Sources
from fuzz.targets.mutants import mutants, operators_named
from nn512.cli import main
from reference.grid import CERTAIN

Single = npt.NDArray[np.float32]

ONCE = Checks(configurations=QUICK[:1], api=False, sharing=False, failures=False)

HEAD = "Config\nInput ToTensor=x Channels={} Height={} Width={}\n"
CONV = "Conv FromTensor={} ToTensor={} ToChannels={} FilterH={k} FilterW={k} PaddingH={p} PaddingW={p}\n"
NORM = "BatchNorm FromTensor={} ToTensor={} Epsilon=0.00001\n"

NETS = {
    "1x1x512": HEAD.format(512, 4, 5) + CONV.format("x", "y", 16, k=1, p=0),
    "1x1x2048": HEAD.format(2048, 3, 3) + CONV.format("x", "y", 16, k=1, p=0),
    "3x3x128": HEAD.format(128, 5, 5) + CONV.format("x", "y", 16, k=3, p=1),
    "full": HEAD.format(256, 3, 3) + "FullyConnected FromTensor=x ToTensor=y ToChannels=16\n",
    "norm behind": HEAD.format(1024, 3, 3) + CONV.format("x", "a", 16, k=1, p=0) + NORM.format("a", "y"),
    "norm before": HEAD.format(128, 5, 5) + NORM.format("x", "a") + CONV.format("a", "y", 16, k=3, p=0),
    "chain": HEAD.format(64, 5, 5)
    + CONV.format("x", "a", 128, k=3, p=1)
    + NORM.format("a", "b")
    + "Activation FromTensor=b ToTensor=c Kind=ReLU\n"
    + CONV.format("c", "y", 16, k=3, p=1),
}
OUTPUT = "Output FromTensor=y\n"


def constant(shape: tuple[int, ...], _: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.full(shape, 0.1)


def nearly(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return 0.1 + 1e-7 * rng.standard_normal(shape)


def two_values_sorted(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.sort(rng.choice([0.1, -0.07], (shape[0], int(np.prod(shape[1:])))), axis=1).reshape(shape)


def ascending(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.sort(rng.standard_normal((shape[0], int(np.prod(shape[1:])))), axis=1).reshape(shape)


DATA = (constant, nearly, two_values_sorted, ascending)


def arrays(graph: nn512.graph.Graph, kind: object) -> tuple[dict[str, Single], dict[str, Single]]:
    """Weights of a kind; ones elsewhere, biases 0.3."""
    assert callable(kind)
    rng = np.random.default_rng(0)
    params = {p.name: np.ones(p.shape, np.float32) for p in graph.parameters}
    for name, array in params.items():
        if name.endswith("Weights"):
            params[name] = kind(array.shape, rng).astype(np.float32)
        elif name.endswith("Biases"):
            params[name] = np.full_like(array, 0.3)
    return params, {"x": np.ones(tuple(graph.shapes["x"]), np.float32)}


class Built:
    """A net's emitted C, built: what it computes with some parameters, judged by what others promise."""

    def __init__(self, text: str) -> None:
        self.graph = nn512.parse(text + OUTPUT)
        net = nn512.compile(self.graph, nn512.Options(weights="fp32"))
        self._rounding = rounding_of(self.graph, net.plan.layers)
        self._executable = build_net(self.graph, net.header, net.source, runner_for(), flags=("-Og",))

    def verdict(
        self, params: Mapping[str, Single], inputs: Mapping[str, Single], promised: Mapping[str, Single]
    ) -> Verdict:
        got = execute(self._executable, params, [inputs], ONCE).outputs[0]["y"]
        want = reference.run(self.graph, promised, inputs, rounding=self._rounding)["y"]
        nothing = np.zeros_like(want.unspecified)
        return judge("y", got, want.value, want.variance, want.unspecified, nothing, LIMITS["direct"])


@pytest.fixture(scope="module", params=NETS)
def built(request: pytest.FixtureRequest) -> Built:
    return Built(NETS[request.param])


@pytest.mark.parametrize("kind", DATA)
def test_right_code_is_right(built: Built, kind: object) -> None:
    params, inputs = arrays(built.graph, kind)
    verdict = built.verdict(params, inputs, params)
    assert verdict.ok, str(verdict)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("fault", ["tap", "lane", "bias"])
def test_a_fault_is_found(built: Built, kind: object, fault: str) -> None:
    params, inputs = arrays(built.graph, kind)
    last = [name for name in params if name.endswith("Weights")][-1]
    broken = {name: array.copy() for name, array in params.items()}
    weights = broken[last].reshape(16, -1)
    if fault == "tap":
        weights[:, 1] = 0
    elif fault == "lane":  # filter 4 computes as if it had the weights of a filter beside it, here one larger by 1 %
        weights[4] *= np.float32(1.01)
    else:
        broken[last.replace("Weights", "Biases")][...] = 0
    verdict = built.verdict(broken, inputs, params)
    assert not verdict.ok, str(verdict)


@pytest.mark.parametrize("weights", ["fp16", "fp32"])
def test_the_command_verifies_constant_arrays(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And finds planted bugs on them."""
    text = NETS["full"] + OUTPUT
    graph = nn512.parse(text)
    params, inputs = arrays(graph, constant)
    (tmp_path / "net.graph").write_text(text)
    np.savez(tmp_path / "p.npz", allow_pickle=False, **params)
    np.save(tmp_path / "x.npy", inputs["x"])
    command = ["verify", str(tmp_path / "net.graph"), "--params", str(tmp_path / "p.npz")]
    command += ["--input", f"x={tmp_path / 'x.npy'}", "--out", str(tmp_path / "findings"), "--threads", "1"]
    assert main([*command, "--weights", weights]) == 0, capsys.readouterr().out
    assert "verified: y" in capsys.readouterr().out
    net = nn512.compile(graph)
    dropped = next(mutants(Sources(net.prefix, net.header, net.source), operators_named("dropped tap")))
    dropped.sources.write(tmp_path)
    assert main([*command, "--source", str(tmp_path)]) == 1, str(dropped)


def test_limits_leave_room_for_errors_that_are_certain() -> None:
    """All elements of an output may err by a bound that counts as CERTAIN sigma."""
    assert all(limit.rms >= CERTAIN for limit in LIMITS.values())


def test_layers_behind_certain_errors_have_room(runs_here: str) -> None:
    """What nine layers make of errors of few values is not bounded as these are; with bounds alone the rms is 3.4."""
    assert runs_here
    window = "WindowH=2 WindowW=3 StrideH=1 StrideW=5 PaddingLeft=2 PaddingRight=2"
    text = HEAD.format(48, 14, 14) + f"Pooling FromTensor=x ToTensor=t0 Kind=Max {window}\n"
    for number, taps in enumerate((1, 1, 3, 3, 1, 3, 3, 1, 3, 3), 1):
        groups = f" Groups={20 if taps == 3 else 1}\n"
        target = "y" if number == 10 else f"t{number}"
        text += CONV.format(f"t{number - 1}", target, 20, k=taps, p=taps // 2).strip() + groups
    built = Built(text)
    data = draw(built.graph, "repeated", 12)
    verdict = built.verdict(data.params, data.inputs, data.params)
    assert verdict.ok
    assert 0.5 < verdict.rms_sigma < 2.5


ONE_SIDED = """
Config
Input ToTensor=int Channels=80 Height=15 Width=15
Conv FromTensor=int ToTensor=x ToChannels=13 FilterH=3 FilterW=3 StrideH=2 StrideW=2 PaddingH=1 PaddingW=1
Conv FromTensor=int ToTensor=net ToChannels=13 FilterH=3 FilterW=3 StrideH=2 StrideW=2 PaddingH=1 PaddingW=1
Conv FromTensor=net ToTensor=NULL ToChannels=31 FilterH=3 FilterW=3 StrideH=2 StrideW=2 PaddingH=1 PaddingW=1
Conv FromTensor=net ToTensor=malloc ToChannels=13 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=x
Output FromTensor=NULL
Output FromTensor=malloc
"""


@pytest.mark.parametrize("kernel", ["direct", "winograd-3x3"])
def test_errors_to_one_side_add_up(kernel: str, runs_here: str) -> None:
    """The input is of one value, weights are of three: all outputs of a layer err alike, by what one order tells."""
    assert runs_here
    case = Case(ONE_SIDED, {"force": [["", kernel]], "weights": "fp32"}, data=(DataSeed("repeated", 0),))
    ((_, verdicts),) = check_case(case).verdicts.items()
    assert all(verdict.ok for verdict in verdicts)
    assert max(verdict.max_sigma for verdict in verdicts) < 3
