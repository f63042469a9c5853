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


BEFORE = """\
Input ToTensor=x{n} Channels={channels} Height={height} Width={width}
Input ToTensor=p{n} Channels={channels} Height={height} Width={width}
Input ToTensor=g{n} Channels={channels} Height=1 Width=1
Add FromTensor1=x{n} FromTensor2=p{n} ToTensor=s{n}
Mul FromTensor1=s{n} FromTensor2=g{n} ToTensor=m{n}
BatchNorm FromTensor=m{n} ToTensor=b{n}
Activation FromTensor=b{n} ToTensor=a{n} Kind=SiLU
{kind} FromTensor=a{n} ToTensor=n{n} Epsilon=0.001
Sub FromTensor1=n{n} FromTensor2=p{n} ToTensor=y{n}
Output FromTensor=y{n}"""


@pytest.mark.parametrize(("kind", "optimisation"), [("LayerNorm", "-O0"), ("RMSNorm", "-O1")])
def test_what_precedes_is_done_on_reading(kind: str, optimisation: str, runs_here: str) -> None:
    """Operands by pixel and for all, parameters, a function: one channel and others, one pixel and some left over."""
    assert runs_here
    shapes = [(1, 1, 1), (1, 3, 7), (15, 1, 17), (16, 5, 5), (17, 3, 5), (33, 2, 9), (33, 1, 1)]
    lines = [BEFORE.format(kind=kind, n=n, channels=c, height=h, width=w) for n, (c, h, w) in enumerate(shapes)]
    norms = [op for op in optimize(parse("\n".join(("Config", *lines)))).ops if isinstance(op, ChannelNormOp)]
    assert [(len(op.prologue), len(op.epilogue)) for op in norms] == [(4, 1)] * len(shapes)
    word = "layer norm" if kind == "LayerNorm" else "rms norm"
    assert f"{word} after steps" in classes(check(*lines, optimisation=optimisation))


@pytest.mark.parametrize("kind", KINDS)
def test_what_precedes_may_be_in_segments(kind: str, runs_here: str) -> None:
    """The other operand is copied to the lanes of the first; what is between segments takes no part."""
    assert runs_here
    lines = [
        "Input ToTensor=x Channels=5 Height=3 Width=7",
        "Input ToTensor=p Channels=59 Height=3 Width=7",
        "Conv FromTensor=x ToTensor=a ToChannels=19 FilterH=1 FilterW=1",
        "Conv FromTensor=x ToTensor=b ToChannels=35 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
        "Concat FromTensor1=a FromTensor2=b FromTensor3=x ToTensor=c",
        "Div FromTensor1=c FromTensor2=p ToTensor=d",
        "Activation FromTensor=d ToTensor=e Kind=Tanh",
        f"{kind} FromTensor=e ToTensor=y",
        "Output FromTensor=y",
    ]
    word = "layer norm" if kind == "LayerNorm" else "rms norm"
    for without in ((), ("fuse_elementwise",)):
        found = classes(check(*lines, without_passes=without))
        assert f"{word} table 11" in found
        assert (f"{word} after steps" in found) is (not without)


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


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("LayerNorm", "_mm512_storeu_ps(out + block * plane + i * 16, v);\n            sum", "sum"),
        ("LayerNorm", "const float *pixel = out + block * plane", "const float *pixel = x + block * plane"),
        ("LayerNorm", "add0 + block * plane + i * 16", "add0 + i * 16"),
        ("RMSNorm", "const float *pixel = out + block * plane", "const float *pixel = x + block * plane"),
        ("RMSNorm", "add0 + block * plane + i * 16", "add0 + block * plane"),
        ("RMSNorm", "affine1[block][0]", "affine1[0][0]"),
        ("RMSNorm", "other[0][item * 16]", "other[0][0]"),
    ],
)
def test_errors_planted_in_what_precedes_are_found(kind: str, before: str, after: str, emit: Emit) -> None:
    text = (
        "Config Prefix=Net\nInput ToTensor=x Channels=19 Height=3 Width=7\n"
        "Input ToTensor=other Channels=19 Height=3 Width=7\nAdd FromTensor1=x FromTensor2=other ToTensor=s\n"
        f"BatchNorm FromTensor=s ToTensor=b\n{kind} FromTensor=b ToTensor=y Epsilon=0.01\nOutput FromTensor=y\n"
    )
    source, judge = emit(text, "gaussian:1")
    assert before in source
    assert not judge(source.replace(before, after)).verified
