"""Layer norm and division by the root mean square: every edge class, every neighbour, and errors planted in the C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.graph import parse
from nn512.ir import ChannelNormOp
from nn512.passes.pipeline import optimize

Emit = Callable[..., Any]
"""What emits a net, and gives what judges it (conftest.py)."""

KINDS = ("LayerNorm", "RMSNorm")
REGIMES = ("exact", "gaussian", "cancelling", "wide", "nonfinite", "constant", "repeated")


def check(*lines: str, optimisation: str = "-O0", **options: object) -> Report:
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case("\n".join(("Config Prefix=Net", *lines)) + "\n", options, optimisation, data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def classes(report: Report) -> set[str]:
    return {c for layer in report.layers if layer.kernel == "channel_norm" for c in layer.edge_classes}


@pytest.mark.parametrize(("kind", "optimisation"), [("LayerNorm", "-O0"), ("RMSNorm", "-O1")])
def test_channels_and_pixels(kind: str, optimisation: str, runs_here: str) -> None:
    """One channel and many, full blocks and others; a pixel, a row of sixteen, some that are left over."""
    assert runs_here
    shapes = [(1, 1, 1), (2, 3, 5), (16, 4, 4), (17, 1, 17), (31, 5, 7), (48, 2, 16), (100, 1, 1)]
    lines = [
        f"Input ToTensor=x{n} Channels={c} Height={h} Width={w}\n"
        f"{kind} FromTensor=x{n} ToTensor=y{n} Epsilon=0.001\nOutput FromTensor=y{n}"
        for n, (c, h, w) in enumerate(shapes)
    ]
    word = "layer norm" if kind == "LayerNorm" else "rms norm"
    tails = {f"{word} tail {c % 16}" for c, _, _ in shapes}
    assert classes(check(*lines, optimisation=optimisation)) == {
        *tails,
        *(f"{word} pixel tail {h * w % 16}" for _, h, w in shapes),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_between_segments_take_no_part(kind: str, runs_here: str) -> None:
    """Convolutions leave anything in lanes without a channel."""
    assert runs_here
    report = check(
        "Input ToTensor=x Channels=5 Height=3 Width=7",
        "Conv FromTensor=x ToTensor=a ToChannels=19 FilterH=1 FilterW=1",
        "Conv FromTensor=x ToTensor=b ToChannels=35 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
        "Concat FromTensor1=a FromTensor2=b FromTensor3=a ToTensor=c",
        f"{kind} FromTensor=c ToTensor=y",
        f"{kind} FromTensor=a ToTensor=z",
        "Output FromTensor=y",
        "Output FromTensor=z",
    )
    word = "layer norm" if kind == "LayerNorm" else "rms norm"
    assert f"{word} table 9" in classes(report)


NEIGHBOURS = """\
Config Prefix=Net
Input ToTensor=x Channels=20 Height=5 Width=5
Conv FromTensor=x ToTensor=c ToChannels=40 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
{kind} FromTensor=c ToTensor=n Epsilon=0.01
Activation FromTensor=n ToTensor=r Kind=ReLU Param=0.1
BatchNorm FromTensor=r ToTensor=b
Add FromTensor1=b FromTensor2=c ToTensor=s
Conv FromTensor=s ToTensor=d ToChannels=20 FilterH=1 FilterW=1
{kind} FromTensor=d ToTensor=e
Add FromTensor1=e FromTensor2=x ToTensor=y
Output FromTensor=y
"""


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_is_done_in_registers(kind: str, runs_here: str) -> None:
    assert runs_here
    text = NEIGHBOURS.format(kind=kind)
    norms = [op for op in optimize(parse(text)).ops if isinstance(op, ChannelNormOp)]
    assert [len(op.epilogue) for op in norms] == [3, 1]
    for without in ((), ("fuse_elementwise",)):
        check(*text.splitlines()[1:], without_passes=without)


def test_means_are_subtracted_before_squares_are_summed(runs_here: str) -> None:
    """A spread of a hundred thousandth of the mean: a mean square minus a squared mean would be anything."""
    assert runs_here
    graph = nn512.parse(
        "Config Prefix=Net\nInput ToTensor=x Channels=40 Height=1 Width=1\n"
        "LayerNorm FromTensor=x ToTensor=y Epsilon=0\nOutput FromTensor=y\n"
    )
    x = (3.0 + 1e-5 * np.random.default_rng(0).standard_normal((40, 1, 1))).astype(np.float32)
    params = {"yScales": np.ones(40, np.float32), "yShifts": np.zeros(40, np.float32)}
    with nn512.Session(graph, params) as session:
        y = session.run({"x": x})["y"]
    centred = x.astype(np.float64) - x.astype(np.float64).mean()
    assert abs(y - centred / centred.std()).max() < 0.05


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("LayerNorm", "_mm512_mask_add_ps(sum[i], mask, sum[i], v)", "_mm512_add_ps(sum[i], v)"),
        ("LayerNorm", "_mm512_set1_ps(mean[i])", "_mm512_set1_ps(mean[0])"),
        ("LayerNorm", "_mm512_fmadd_ps(v, scale, shift)", "_mm512_mul_ps(v, scale)"),
        ("LayerNorm", "lane_sums(sum), _mm512_set1_ps(channels)", "lane_sums(sum), _mm512_set1_ps(channels + 1)"),
        ("RMSNorm", "_mm512_mask3_fmadd_ps(v, v, sum[i], mask)", "_mm512_fmadd_ps(v, v, sum[i])"),
        ("RMSNorm", "_mm512_set1_ps(epsilon)", "_mm512_set1_ps(0.0f)"),
        ("RMSNorm", "_mm512_set1_ps(factor[i])", "_mm512_set1_ps(factor[15 - i])"),
        ("RMSNorm", "_mm512_loadu_ps(scales[block])", "_mm512_loadu_ps(scales[0])"),
        ("RMSNorm", "_mm512_shuffle_ps(a, b, 0xee)", "_mm512_shuffle_ps(a, b, 0xe4)"),
    ],
)
def test_planted_errors_are_found(kind: str, before: str, after: str, emit: Emit) -> None:
    text = (
        "Config Prefix=Net\nInput ToTensor=x Channels=5 Height=3 Width=7\n"
        "Conv FromTensor=x ToTensor=c ToChannels=19 FilterH=1 FilterW=1\n"
        f"Concat FromTensor1=c FromTensor2=x ToTensor=d\n{kind} FromTensor=d ToTensor=y Epsilon=0.01\n"
        "Output FromTensor=y\n"
    )
    source, judge = emit(text, "gaussian:1", "nonfinite:1")
    assert before in source
    assert not judge(source.replace(before, after)).verified
