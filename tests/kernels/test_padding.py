"""Padding of four sides: every kernel of convolutions under windows that hang over one edge, or over each else."""

from __future__ import annotations

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.compiler import decide
from nn512.graph import parse
from nn512.ir import LoadOp, PadOp
from nn512.options import Options
from nn512.passes.pipeline import optimize
from nn512.plan.conv_geometry import Axis

REGIMES = ("exact", "gaussian", "nonfinite")

SIDES = (
    "PaddingLeft=2 PaddingTop=2",  # causal under 3x3
    "PaddingRight=2 PaddingBottom=2",
    "PaddingTop=1",
    "PaddingBottom=1",
    "PaddingH=1 PaddingW=1 PaddingTop=0 PaddingLeft=0",  # as SAME is at stride 2
    "PaddingTop=1 PaddingBottom=3 PaddingLeft=2",
    "PaddingTop=4 PaddingRight=5",  # windows that see padding alone
    "PaddingBottom=5 PaddingLeft=4 PaddingRight=1",
)


def reading(source: str, shape: tuple[int, int, int], *convs: str) -> str:
    """An input, and convolutions that all read it."""
    channels, height, width = shape
    lines = [f"Input ToTensor={source} Channels={channels} Height={height} Width={width}"]
    for number, fields in enumerate(convs):
        name = f"{source}{number}"
        lines += [f"Conv FromTensor={source} ToTensor={name} {fields}", f"Output FromTensor={name}"]
    return "\n".join(lines) + "\n"


def net(shape: tuple[int, int, int], *convs: str) -> str:
    """A net of convolutions that all read the input."""
    return "Config Prefix=Net\n" + reading("x", shape, *convs)


def check(text: str, kernel: str, optimisation: str = "-Og") -> Report:
    """The report of a check with a kernel forced wherever it applies, which is everywhere; nothing may be wrong."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(text, {"force": [["", kernel]]}, optimisation, data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    others = {"load", "store", "pad", "elementwise"}
    assert {layer.kernel for layer in report.layers} - others == {kernel}
    return report


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(
    ("kernel", "channels", "more"),
    [
        ("direct", 20, "ToChannels=21"),
        ("planar", 3, "ToChannels=21"),
        ("depthwise", 18, "ToChannels=18 Groups=18"),
        ("depthwise", 7, "ToChannels=14 Groups=7"),
        ("grouped", 16, "ToChannels=16 Groups=4"),
        ("direct", 12, "ToChannels=9 Groups=3"),
        ("direct", 32, "ToChannels=32 Groups=2"),
    ],
)
def test_every_side(kernel: str, channels: int, more: str) -> None:
    """Pictures of one tile and of several, at strides of 1 and 2; filters of one row or column, and sparse ones."""
    one, two = more, f"StrideH=2 StrideW=2 {more}"
    thin = [f"FilterH=1 FilterW=3 DilationW=2 {one} PaddingLeft=4", f"FilterH=3 FilterW=1 {one} PaddingBottom=2"]
    thin.append(f"FilterH=2 FilterW=2 DilationH=3 {two} PaddingTop=3 PaddingRight=1")
    narrow = [f"FilterH=3 FilterW=3 {(one, two)[n % 2]} {sides}" for n, sides in enumerate(SIDES)]
    wide = [f"FilterH=3 FilterW=3 {(two, one)[n % 2]} {sides}" for n, sides in enumerate(SIDES)]
    text = net((channels, 5, 17), *thin) + reading("n", (channels, 7, 6), *narrow)
    check(text + reading("w", (channels, 7, 33), *wide), kernel)


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize("kernel", ["winograd-2x2", "winograd-4x4", "winograd-3x3-fp16", "winograd-5x5"])
def test_winograd(kernel: str) -> None:
    convs = [f"ToChannels=21 FilterH=3 FilterW=3 {sides}" for sides in SIDES]
    check(net((20, 7, 6), *convs) + reading("w", (17, 12, 19), *convs), kernel)


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(("kernel", "stride"), [("fourier-8", 1), ("fourier-16", 2), ("fourier-16-fp16", 1)])
def test_fourier(kernel: str, stride: int) -> None:
    size = f"ToChannels=19 FilterH=7 FilterW=7 StrideH={stride} StrideW={stride}"
    wide = ("PaddingTop=6 PaddingLeft=6", "PaddingRight=3 PaddingBottom=6", "PaddingH=9 PaddingLeft=1 PaddingRight=6")
    check(net((18, 9, 15), *(f"{size} {sides}" for sides in wide)), kernel)


@pytest.mark.usefixtures("runs_here")
def test_one_pixel_wide_filters_with_padding_are_no_pointwise_ones() -> None:
    sides = ("PaddingRight=1", "PaddingTop=2", "PaddingBottom=1 PaddingLeft=1")
    text = net((20, 5, 6), *(f"ToChannels=17 FilterH=1 FilterW=1 {side}" for side in sides))
    assert "pointwise" not in {layer.kernel for layer in compile_graph(text).plan.layers}
    check(text, "direct", "-O1")


@pytest.mark.usefixtures("runs_here")
def test_wide_padding_of_one_side_is_a_copy() -> None:
    """Whole tiles would see nothing but padding; zeros are put on the sides that have padding."""
    text = net((17, 3, 40), "ToChannels=5 FilterH=2 FilterW=3 PaddingLeft=33 PaddingBottom=1")
    (pad,) = (op for op in decide(optimize(parse(text)), Options()).placement.ops if isinstance(op, PadOp))
    assert pad.sides == (0, 1, 33, 0)
    report = check(text, "direct")
    assert "channel tail 1" in {name for layer in report.layers for name in layer.edge_classes}


def test_planes_get_zeros_where_they_need_some() -> None:
    """Convolutions with the same padding beside their rows share a copy."""
    fields = "ToChannels=16 FilterH=3 FilterW=3"
    text = net((3, 30, 30), *(f"{fields} {sides}" for sides in (SIDES[0], "PaddingLeft=2", SIDES[1], "PaddingTop=1")))
    forced = Options(force=(("", "planar"),))
    loads = [op for op in decide(optimize(parse(text)), forced).placement.ops if isinstance(op, LoadOp)]
    assert {op.writes: op.columns for op in loads} == {"x_padded2and0": (2, 0), "x_padded0and2": (0, 2)}


def test_edges_on_one_side_are_edge_classes() -> None:
    """Padding behind alone counts as padding: rows of the filter are cut off below."""
    for kernel, more in (("direct", ""), ("depthwise", "Groups=18")):
        text = net((18, 9, 20), f"ToChannels=18 FilterH=3 FilterW=3 PaddingBottom=2 PaddingRight=2 {more}")
        layers = compile_graph(text, Options(force=(("", kernel),))).plan.layers
        (found,) = (set(layer.edge_classes) for layer in layers if layer.kernel == kernel)
        assert "rows clipped" in found
        assert any(name.endswith("right") for name in found)
        assert not any(name.endswith(("left", "both")) for name in found)


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(
    ("kernel", "taps", "more"), [("direct", 3, ""), ("planar", 3, ""), ("depthwise", 1, "Groups=3")]
)
def test_forgotten_padding_behind_is_found(kernel: str, taps: int, more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows below the picture are read then, as if the filter were never cut off."""
    text = net((3, 6, 17), f"ToChannels=3 FilterH={taps} FilterW=3 PaddingBottom=2 {more}")
    check(text, kernel)
    monkeypatch.setattr(Axis, "is_padded", property(lambda axis: axis.before > 0))
    report = check_case(Case(text, {"force": [["", kernel]]}, "-Og", (DataSeed("gaussian", 1),)))
    assert report.problems
