"""Inputs of interleaved pixels: spread to blocks, or read in place; every tail, beside planes; planted errors."""

from __future__ import annotations

import re

import numpy as np
import pytest

import nn512
import reference
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.graph import parse
from nn512.kernels import border
from nn512.kernels.conv_blocking import ConvBlocking
from nn512.options import Options
from nn512.params import random_params

REGIMES = ("exact", "gaussian", "nonfinite")


def check(text: str, force: str = "", optimisation: str = "-Og") -> Report:
    """The report of a check; nothing may be wrong."""
    options = {"force": [["", force]]} if force else {}
    report = check_case(Case(text, options, optimisation, tuple(DataSeed(regime, 1) for regime in REGIMES)))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def reading(source: str, shape: tuple[int, int, int], *convs: str, order: str = "HWC") -> str:
    """An input and convolutions that read it."""
    channels, height, width = shape
    lines = [f"Input ToTensor={source} Channels={channels} Height={height} Width={width} Order={order}"]
    for number, fields in enumerate(convs):
        name = f"{source}{number}"
        lines += [f"Conv FromTensor={source} ToTensor={name} {fields}", f"Output FromTensor={name}"]
    return "\n".join(lines) + "\n"


CONV = "ToChannels=5 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1"
STEM = "ToChannels=35 FilterH=7 FilterW=7 StrideH=2 StrideW=2 PaddingH=3 PaddingW=3"


@pytest.mark.usefixtures("runs_here")
def test_pixels_are_spread_to_blocks() -> None:
    """One block and several, with and without a tail; an input that goes to an output; one of a single pixel."""
    text = "Config Prefix=Net\n" + "".join(
        reading(f"x{channels}", (channels, 3, 5), CONV) for channels in (1, 2, 3, 15, 16, 17, 32, 35)
    )
    text += "Input ToTensor=p Channels=19 Height=1 Width=1 Order=HWC\nSoftmax FromTensor=p ToTensor=s\n"
    text += "Activation FromTensor=x17 ToTensor=r Kind=ReLU Param=1\nOutput FromTensor=s\nOutput FromTensor=r\n"
    report = check(text, "direct")
    classes = {name for layer in report.layers for name in layer.edge_classes}
    assert {f"interleaved, channel tail {tail}" for tail in (0, 1, 2, 3, 15)} <= classes


@pytest.mark.usefixtures("runs_here")
def test_convolutions_read_pixels_in_place() -> None:
    """Strides, dilations and padding, of rows that are copied between zeros and of the caller's own."""
    convs = (
        STEM,
        "ToChannels=16 FilterH=1 FilterW=1",
        "ToChannels=20 FilterH=4 FilterW=4 StrideH=4 StrideW=4",
        "ToChannels=9 FilterH=3 FilterW=2 DilationH=2 DilationW=3 PaddingTop=3 PaddingRight=2",
        "ToChannels=9 FilterH=2 FilterW=3 StrideW=3 PaddingBottom=4",
    )
    text = "Config Prefix=Net\n" + "".join(
        reading(name, shape, *convs) for name, shape in (("a", (3, 9, 31)), ("b", (1, 8, 7)), ("c", (13, 6, 15)))
    )
    report = check(text, "planar")
    assert {layer.kernel for layer in report.layers} == {"load", "planar", "store"}
    classes = {name for layer in report.layers for name in layer.edge_classes}
    assert {"source given interleaved pixels", "source copied interleaved pixels", "rows of pixels"} <= classes


@pytest.mark.usefixtures("runs_here")
def test_beside_planes_and_other_readers() -> None:
    text = f"""
        Config Prefix=Net
        Input ToTensor=x Channels=3 Height=8 Width=15 Order=HWC
        Input ToTensor=z Channels=3 Height=8 Width=15
        BatchNorm FromTensor=x ToTensor=n
        Conv FromTensor=n ToTensor=c ToChannels=3 FilterH=3 FilterW=3
        Conv FromTensor=x ToTensor=d {CONV.replace("=5", "=3")}
        Add FromTensor1=d FromTensor2=x ToTensor=s
        Add FromTensor1=s FromTensor2=z ToTensor=t
        Concat FromTensor1=t FromTensor2=x ToTensor=cat
        Output FromTensor=c
        Output FromTensor=cat
    """
    check(text, "planar")
    check(text, "", "-O1")


def test_kernels_cost_the_same_in_either_order() -> None:
    """What is emitted differs in where the next pixel and the next channel are."""

    def plan(order: str) -> list[tuple[str, float]]:
        text = "Config Prefix=Net\n" + reading("x", (3, 128, 128), STEM, order=order)
        return [(layer.kernel, layer.predicted_microseconds) for layer in compile_graph(text).plan.layers]

    assert plan("HWC") == plan("CHW")
    assert [kernel for kernel, _ in plan("HWC")] == ["load", "planar", "store"]
    wide = "Config Prefix=Net\n" + reading("x", (16, 64, 64), STEM)
    layers = compile_graph(wide, Options(force=(("", "planar"),))).plan.layers
    assert "planar" not in {layer.kernel for layer in layers}, "such pixels are blocks already"


def test_header_says_the_order() -> None:
    net = nn512.compile(
        "Config Prefix=Net\n" + reading("x", (3, 4, 5), CONV) + reading("y", (2, 3, 4), CONV, order="CHW")
    )
    assert "const float *x; /* input, 4x5x3: height x width x channels */" in net.header
    assert "const float *y; /* input, 2x3x4 */" in net.header
    assert "(inputs that say so: height x width x channels)" in re.sub(r"\s*\n \* ", " ", net.header)


@pytest.mark.usefixtures("runs_here")
def test_session_and_reference_take_the_same_arrays() -> None:
    """And what comes out is what planes give."""
    text = "Config Prefix=Net\n" + reading("x", (3, 9, 31), STEM)
    params = random_params(parse(text), 1)
    image = np.random.default_rng(0).standard_normal((9, 31, 3), np.float32)
    found = reference.run(parse(text), params, {"x": image})["x0"]
    planes = reference.run(parse(text.replace(" Order=HWC", "")), params, {"x": image.transpose(2, 0, 1)})["x0"]
    np.testing.assert_array_equal(found.value, planes.value)
    with nn512.Session(text, params) as session:
        y = session.run({"x": image})["x0"]
        assert (np.abs(y - found.value) <= 6 * np.sqrt(found.variance)).all()
        with pytest.raises(nn512.UsageError, match="'x' is 3x9x31, not 9x31x3"):
            session.run({"x": image.transpose(2, 0, 1)})
    with pytest.raises(nn512.UsageError, match="'x' is 3x9x31, not 9x31x3"):
        reference.run(parse(text), params, {"x": image.transpose(2, 0, 1)})


@pytest.mark.usefixtures("runs_here")
def test_pixels_at_a_wrong_distance_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far apart as a block has channels, not as all blocks have."""
    text = "Config Prefix=Net\n" + reading("x", (19, 4, 5), CONV)
    monkeypatch.setattr(border, "LOAD_PIXELS", border.LOAD_PIXELS.replace("x + p * step", "x + p * channels"))
    report = check_case(Case(text, {"force": [["", "direct"]]}, "-Og", (DataSeed("gaussian", 1),)))
    assert report.problems


@pytest.mark.usefixtures("runs_here")
def test_weights_in_the_order_of_planes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed tap by tap with all channels of each, where the kernel takes all taps of a channel first."""
    text = "Config Prefix=Net\n" + reading("x", (3, 4, 5), CONV)
    monkeypatch.setattr(ConvBlocking, "_layout_of_weights", property(lambda layer: layer.source.layout))
    report = check_case(Case(text, {"force": [["", "planar"]]}, "-Og", (DataSeed("gaussian", 1),)))
    assert report.problems
