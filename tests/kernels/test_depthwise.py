"""Depthwise convolutions: every multiplier, edge and stride, on exact data and with NaN in single channels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.options import Options
from nn512.plan.plan import PlannedLayer

REGIMES = ("exact", "gaussian", "nonfinite")
SAME = "PaddingH=1 PaddingW=1"


def net(shape: tuple[int, int, int], *convs: tuple[int, str, str]) -> str:
    """A net of depthwise convolutions of the input: multiplier, taps, more fields."""
    channels, height, width = shape
    lines = ["Config Prefix=Net", f"Input ToTensor=x Channels={channels} Height={height} Width={width}"]
    for number, (multiplier, taps, more) in enumerate(convs):
        filter_h, filter_w = taps.split("x")
        fields = f"ToChannels={channels * multiplier} FilterH={filter_h} FilterW={filter_w} Groups={channels} {more}"
        lines += [f"Conv FromTensor=x ToTensor=y{number} {fields}", f"Output FromTensor=y{number}"]
    return "\n".join(lines) + "\n"


def convolutions(text: str, force: str = "depthwise") -> Sequence[PlannedLayer]:
    """The convolutions of a plan."""
    layers: Sequence[PlannedLayer] = compile_graph(text, Options(force=(("", force),) if force else ())).plan.layers
    return [layer for layer in layers if layer.kernel not in {"load", "store", "pad"}]


def check(text: str, optimisation: str = "-Og", compiler: str = "") -> Report:
    """The report of a check with the kernel forced; nothing may be wrong with it."""
    assert {layer.kernel for layer in convolutions(text)} == {"depthwise"}
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(text, {"force": [["", "depthwise"]]}, optimisation, data, compiler))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


@pytest.mark.parametrize("channels", [2, 7, 16, 35])
def test_channels_and_multipliers(channels: int) -> None:
    """Outputs of a channel within a block, across two blocks (3, 5, 20), and in whole blocks (16, 32)."""
    multipliers = (1, 2, 3, 5, 16, 20, 32)
    report = check(net((channels, 3, 4), *((m, "3x3", SAME) for m in multipliers)))
    classes = {name for layer in report.layers for name in layer.edge_classes}
    assert {f"outputs for an input {'one' if m == 1 else 'several'}" for m in multipliers} <= classes
    assert f"output tail {channels % 16}" in classes


def test_one_channel() -> None:
    check(net((1, 3, 15), (20, "3x3", SAME)))


@pytest.mark.parametrize(("blocks", "taken"), [(64, True), (65, False), (2**20, False)])
def test_the_table_of_lanes_is_bounded(blocks: int, taken: bool) -> None:  # noqa: FBT001 - by pytest
    """Each block of outputs of one channel has a row in it."""
    (layer,) = convolutions(net((1, 3, 3), (16 * blocks, "1x1", "")))
    assert (layer.kernel == "depthwise") == taken


@pytest.mark.parametrize("width", [1, 3, 13, 14, 15, 28, 31])
def test_widths(width: int) -> None:
    check(net((17, 3, width), (1, "3x3", SAME), (2, "5x5", "PaddingH=2 PaddingW=2"), (1, "1x1", ""), (1, "2x1", "")))


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_strides_paddings_dilations(stride: int) -> None:
    more = f"StrideH={stride} StrideW={stride}"
    text = net(
        (18, 12, 37),
        (1, "3x3", more),
        (1, "3x3", f"{more} {SAME}"),
        (1, "3x3", f"{more} PaddingH=2 PaddingW=2 DilationH=2 DilationW=2"),
        (2, "5x4", f"{more} PaddingH=3 PaddingW=1 DilationW=3"),
        (1, "7x7", f"{more} PaddingH=3 PaddingW=3"),
        (1, "1x3", f"{more} PaddingH=1 PaddingW=5 DilationW=7"),
    )
    check(text)


def test_wide_filters_and_wide_padding() -> None:
    text = net(
        (5, 4, 9),
        (1, "1x13", "PaddingW=6"),
        (1, "9x11", "PaddingW=10 PaddingH=8"),
        (1, "1x3", "PaddingW=20"),
        (3, "3x3", "PaddingW=8 PaddingH=8 DilationW=8 DilationH=8"),
        (1, "2x40", "PaddingW=30"),
    )
    check(text)


FUSED = """
Config Prefix=Net
Input ToTensor=x Channels=21 Height=7 Width=15
BatchNorm FromTensor=x ToTensor=n Epsilon=0.75
Conv FromTensor=n ToTensor=c ToChannels=42 FilterH=3 FilterW=3 Groups=21
BatchNorm FromTensor=c ToTensor=b Epsilon=0.75
Activation FromTensor=b ToTensor=r Kind=ReLU Param=0.5
Conv FromTensor=r ToTensor=d ToChannels=42 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=42
Add FromTensor1=d FromTensor2=r ToTensor=s
Activation FromTensor=s ToTensor=t Kind=ReLU Param=0
Output FromTensor=t
Activation FromTensor=s ToTensor=u Kind=ReLU Param=-1
Conv FromTensor=u ToTensor=e ToChannels=42 FilterH=1 FilterW=3 PaddingW=1 Groups=42
Output FromTensor=e
Concat FromTensor1=t FromTensor2=r ToTensor=cat
Conv FromTensor=cat ToTensor=f ToChannels=84 FilterH=3 FilterW=3 Groups=84
Output FromTensor=f
"""


def test_with_everything_fused_around_it() -> None:
    """Batch norms before and after, activations before and after, additions; an irregular source, too."""
    kernels = {layer.name: layer.kernel for layer in convolutions(FUSED)}
    assert sorted(kernels.values()).count("depthwise") == 4
    report = check_case(
        Case(FUSED, {"force": [["", "depthwise"]]}, data=tuple(DataSeed(regime, 1) for regime in REGIMES))
    )
    assert not report.problems
    assert report.verified


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("optimisation", ["-O0", "-O1", "-O3"])
def test_compilers(compiler: str, optimisation: str) -> None:
    check(net((20, 5, 17), (1, "3x3", SAME), (3, "5x5", "StrideW=2"), (1, "3x3", "StrideW=3")), optimisation, compiler)


def test_the_cheapest_kernel_is_the_right_one() -> None:
    text = net((32, 14, 14), (1, "3x3", SAME), (2, "3x3", SAME), (1, "5x5", "StrideH=2 StrideW=2"))
    assert {layer.kernel for layer in convolutions(text, "")} == {"depthwise"}


SEGMENTS = """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=9 Width=17
Conv FromTensor=x ToTensor=a ToChannels=5 FilterH=1 FilterW=1
Conv FromTensor=x ToTensor=b ToChannels=19 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Concat FromTensor1=a FromTensor2=b ToTensor=c
BatchNorm FromTensor=c ToTensor=d
Conv FromTensor=d ToTensor=e ToChannels=24 FilterH=2 FilterW=3 Groups=24
BatchNorm FromTensor=e ToTensor=f
Activation FromTensor=f ToTensor=g Kind=PReLU
Slice FromTensor=c ToTensor=h From=1 Count=8 Axis=Height
Slice FromTensor=h ToTensor=i From=1 Count=15 Axis=Width
Add FromTensor1=g FromTensor2=i ToTensor=j
Conv FromTensor=j ToTensor=k ToChannels=24 FilterH=3 FilterW=3 StrideH=2 StrideW=2 PaddingH=1 PaddingW=1 Groups=24
Conv FromTensor=k ToTensor=l ToChannels=7 FilterH=1 FilterW=1
Conv FromTensor=k ToTensor=m ToChannels=48 FilterH=1 FilterW=1 Groups=24
Output FromTensor=j
Output FromTensor=l
Output FromTensor=m
"""


@pytest.mark.parametrize("force", ["", "depthwise", "direct"])
def test_channels_in_segments_stay_there(force: str) -> None:
    """Of two parts that end inside blocks; norms, slopes and what is added meet each channel where it stands."""
    plan = compile_graph(SEGMENTS, Options(force=(("", force),) if force else ())).plan
    segments = {tensor.name: tuple(tensor.segments) for tensor in plan.tensors}
    assert segments["c"] == segments["j"] == segments["k"] == (5, 19)
    kernels = {layer.name: layer.kernel for layer in plan.layers}
    assert (kernels["j"], kernels["k"], kernels["m"]) == ("depthwise", "depthwise", "direct")
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(SEGMENTS, {"force": [["", force]]} if force else {}, data=data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    classes = {layer.name: layer.edge_classes for layer in report.layers}
    assert "channels in segments" in classes["j"]
    assert "channels in segments" in classes["k"]
