"""Fully connected layers: weights as floats, halves and pairs of bfloat16, all forms of panels and inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import DataSet
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.errors import UsageError
from nn512.graph import parse
from nn512.kernels.fully_connected import panel_width, spans_of
from nn512.kernels.registry import kernel_named
from nn512.options import Options
from nn512.plan.layout import Layout
from nn512.plan.plan import PlannedLayer

FLOATS, HALVES, PAIRS = "fully_connected", "fully_connected_fp16", "fully_connected_bf16"


def net(*lines: str) -> str:
    return "\n".join(("Config Prefix=Net", *lines)) + "\n"


def full(source: str, to: str, outputs: int) -> str:
    return f"FullyConnected FromTensor={source} ToTensor={to} ToChannels={outputs}"


def forcing(kernel: str) -> Options:
    """Options that force a kernel, on its platform."""
    return Options(force=(("", kernel),), platform=kernel_named(kernel).platform)


def check(
    text: str, kernel: str, *data: DataSet, regimes: tuple[str, ...] = ("exact", "impulse", "gaussian", "nonfinite")
) -> Report:
    """The report of a check with a kernel forced; nothing may be wrong with it."""
    case = Case(text, forcing(kernel).to_dict(), data=tuple(DataSeed(name, 1) for name in regimes))
    report = check_case(case, data)
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def layers(text: str, options: Options | None = None) -> Sequence[PlannedLayer]:
    """The fully connected layers of a plan."""
    plan: Sequence[PlannedLayer] = nn512.compile(text, options).plan.layers
    return [layer for layer in plan if layer.kernel in (FLOATS, HALVES, PAIRS)]


CHAIN = net(
    "Input ToTensor=x Channels=37 Height=3 Width=2",
    full("x", "a", 141),
    "BatchNorm FromTensor=a ToTensor=b",
    "Activation FromTensor=b ToTensor=c Kind=ReLU",
    full("c", "d", 48),
    full("d", "e", 33),
    full("d", "f", 33),
    "Add FromTensor1=e FromTensor2=f ToTensor=g",
    full("g", "h", 1),
    "Output FromTensor=h",
    "Output FromTensor=c",
)
SEGMENTS = net(
    "Input ToTensor=x Channels=5 Height=2 Width=3",
    "Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=1 FilterW=1",
    "Conv FromTensor=x ToTensor=b ToChannels=13 FilterH=1 FilterW=1",
    "Concat FromTensor1=a FromTensor2=b ToTensor=c",
    full("c", "y", 130),
    "Output FromTensor=y",
)
NORMALIZED = net(
    "Input ToTensor=x Channels=20 Height=1 Width=2",
    "BatchNorm FromTensor=x ToTensor=n",
    full("n", "y", 17),
    "Output FromTensor=y",
)


@pytest.mark.parametrize("kernel", [FLOATS, HALVES, PAIRS])
@pytest.mark.parametrize("text", [CHAIN, SEGMENTS], ids=["chain", "segments"])
def test_every_form(text: str, kernel: str, runs_here: str) -> None:
    assert runs_here
    check(text, kernel)
    assert {layer.kernel for layer in layers(text, forcing(kernel))} == {kernel}


def test_behind_a_folded_norm_weights_stay_floats(runs_here: str) -> None:
    """What the norm subtracts is in the bias, and would have to match rounded weights."""
    assert runs_here
    report = check(NORMALIZED, HALVES, regimes=("gaussian", "cancelling"))
    assert HALVES not in {layer.kernel for layer in report.layers}


@pytest.mark.parametrize("decades", [(-30, -30), (30, 30), (-38, 0), (0, 34), (-12, 12), (0, 0)])
def test_weights_of_any_magnitude(decades: tuple[int, int], runs_here: str) -> None:
    """Every output's weights are lifted into the range of halves, even where they stretch beyond it."""
    assert runs_here
    graph = parse(net("Input ToTensor=x Channels=40 Height=1 Width=1", full("x", "y", 20), "Output FromTensor=y"))
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((20, 40)) * 10.0 ** np.linspace(*decades, 40)
    weights[3] = 0
    params = {"yWeights": weights.astype(np.float32).reshape(20, 40, 1, 1), "yBiases": np.zeros(20, np.float32)}
    x = rng.standard_normal((40, 1, 1), np.float32)
    check(graph.source.text, HALVES, DataSet("given", 0, params, {"x": x}))


def test_large_layers_become_halves_unless_told_otherwise() -> None:
    text = net(
        "Input ToTensor=x Channels=512 Height=1 Width=1", full("x", "y", 512), full("y", "z", 10), "Output FromTensor=z"
    )
    assert [layer.weights for layer in layers(text)] == ["fp16", "fp32"]
    assert [layer.weights for layer in layers(text, Options(weights="fp32"))] == ["fp32", "fp32"]
    assert layers(text)[0].weight_bytes < 0.6 * layers(text, Options(weights="fp32"))[0].weight_bytes
    with pytest.raises(UsageError, match="fp16 or fp32"):
        Options(weights="fp8")


def test_halves_come_before_pairs_where_weights_come_from_memory() -> None:
    """There they take the same time and err less; pairs are taken where halves are forbidden, or multiplying counts."""
    text = net(
        "Input ToTensor=x Channels=512 Height=1 Width=1", full("x", "y", 512), full("y", "z", 10), "Output FromTensor=z"
    )
    paired = layers(text, Options(platform="AVX512BFloat16"))
    assert [layer.kernel for layer in paired] == [HALVES, PAIRS]
    assert paired[0].prices[HALVES] == pytest.approx(paired[0].prices[PAIRS], rel=0.05)
    without = layers(text, Options(platform="AVX512BFloat16", weights="fp32"))
    assert [layer.kernel for layer in without] == [PAIRS, PAIRS]


@pytest.mark.parametrize(
    ("blocks", "width"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 2), (8, 4), (9, 3), (63, 4), (10, 4)]
)
def test_panel_width(blocks: int, width: int) -> None:
    assert panel_width(blocks) == width


def test_spans() -> None:
    assert spans_of(Layout((64,)), 6) == ((24, 16),)
    assert spans_of(Layout((20, 13)), 2) == ((2, 16), (2, 4), (2, 13))
