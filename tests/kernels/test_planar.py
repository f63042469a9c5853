"""Convolutions on the planes of a caller's tensor: every form of window, on exact data, at the edges of pages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.compiler import decide
from nn512.graph import parse
from nn512.ir import ConvOp, LoadOp
from nn512.options import Options
from nn512.passes.pipeline import optimize
from nn512.plan.layout import Layout
from nn512.plan.plan import PlannedLayer
from nn512.plan.planes import planes_readers, read_planes

REGIMES = ("exact", "gaussian", "nonfinite")
SAME = "PaddingH=1 PaddingW=1"


def net(shape: tuple[int, int, int], *convs: str) -> str:
    """A net of convolutions that all read the input."""
    channels, height, width = shape
    lines = ["Config Prefix=Net", f"Input ToTensor=x Channels={channels} Height={height} Width={width}"]
    for number, fields in enumerate(convs):
        lines += [f"Conv FromTensor=x ToTensor=y{number} {fields}", f"Output FromTensor=y{number}"]
    return "\n".join(lines) + "\n"


def conv(outputs: int, taps: str = "3x3", more: str = "") -> str:
    """A convolution's fields."""
    height, width = taps.split("x")
    return f"ToChannels={outputs} FilterH={height} FilterW={width} {more}"


def check(text: str, optimisation: str = "-Og", compiler: str = "", *, force: bool = True) -> Report:
    """The report of a check, with the kernel forced wherever it applies; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    options = {"force": [["", "planar"]]} if force else {}
    report = check_case(Case(text, options, optimisation, data, compiler))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def kernels(text: str, *force: tuple[str, str]) -> dict[str, str]:
    """The kernel of every layer by its name."""
    layers: Sequence[PlannedLayer] = compile_graph(text, Options(force=force)).plan.layers
    return {layer.name: layer.kernel for layer in layers if layer.kernel != "store"}


@pytest.mark.parametrize("width", [1, 2, 6, 7, 13, 14, 15, 27, 29, 43])
def test_widths(width: int, runs_here: str) -> None:
    """One tile and several, of a few rows where the picture is narrow."""
    assert runs_here
    text = net(
        (3, 5, width), conv(35, more=SAME), conv(16, "1x1"), conv(33, "2x1", "PaddingH=3"), conv(5, "1x5", "PaddingW=2")
    )
    report = check(text)
    assert {layer.kernel for layer in report.layers} == {"load", "planar", "store"}
    classes = {name for layer in report.layers for name in layer.edge_classes}
    assert {"source given planes", "source copied planes", "inputs in planes, tail 3"} <= classes
    assert "rows clipped" in classes or classes & {"rows top", "rows ends"}  # of tiles of several rows


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_strides_dilations_and_padding(stride: int) -> None:
    """Windows beyond both ends of the picture, and rows of the result that see padding alone."""
    more = f"StrideH={stride} StrideW={stride}"
    text = net(
        (2, 10, 33),
        conv(17, more=f"{more} {SAME}"),
        conv(17, more=f"{more} DilationW=2 PaddingW=2 PaddingH=1"),
        conv(32, "2x5", f"{more} DilationW=3 DilationH=2 PaddingW=6 PaddingH=2"),
        conv(9, "7x7", f"{more} PaddingW=3 PaddingH=3"),
        conv(9, "3x4", f"StrideH=2 StrideW={stride} PaddingH=7 PaddingW=9"),
        conv(9, "4x4", more),
        conv(9, "10x33", f"{more} PaddingH=1"),
        conv(9, "12x40", f"{more} PaddingH=2 PaddingW=5"),
    )
    assert set(kernels(text, ("", "planar")).values()) == {"load", "planar"}
    check(text)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
def test_channels(channels: int) -> None:
    text = net((channels, 6, 16), conv(50, "5x3", "PaddingH=2 PaddingW=1"), conv(16, "2x2", "StrideH=2 StrideW=2"))
    report = check(text)
    assert {layer.kernel for layer in report.layers} == {"load", "planar", "store"}


def test_many_channels_and_groups_are_left_to_others() -> None:
    assert "planar" not in kernels(net((17, 4, 4), conv(8)), ("", "planar")).values()
    assert "planar" not in kernels(net((4, 4, 4), conv(8, more="Groups=2")), ("", "planar")).values()


def test_a_single_row_or_column(runs_here: str) -> None:
    """The compiler must not see a pointer outside the picture."""
    assert runs_here
    check(net((1, 1, 16), conv(16, "1x3", SAME), conv(16, "2x1", "PaddingH=2"), conv(16, "1x1")), "-O3", "gcc")
    check(net((3, 16, 1), conv(16, "3x1", SAME), conv(16, "1x2", "PaddingW=2"), conv(16, "1x1")), "-O3", "gcc")


FUSED = """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=8 Width=15
Input ToTensor=z Channels=3 Height=8 Width=15
BatchNorm FromTensor=x ToTensor=n Epsilon=0.75
Conv FromTensor=n ToTensor=c ToChannels=3 FilterH=3 FilterW=1
BatchNorm FromTensor=c ToTensor=b Epsilon=0.75
Activation FromTensor=b ToTensor=r Kind=ReLU Param=0.5
Conv FromTensor=z ToTensor=d ToChannels=3 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Add FromTensor1=d FromTensor2=z ToTensor=s
Conv FromTensor=z ToTensor=e ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=e ToTensor=f Kind=ReLU Param=-1
Concat FromTensor1=s FromTensor2=f ToTensor=cat
Pooling FromTensor=z ToTensor=p Kind=Max2x2Stride2
Output FromTensor=r
Output FromTensor=cat
Output FromTensor=p
"""


def test_with_everything_fused_around_it(runs_here: str) -> None:
    """Batch norms before and after, branches, a sum with the very tensor that is convolved, another reader of it."""
    assert runs_here
    assert kernels(FUSED, ("", "planar")) == {
        "r": "planar",
        "f": "planar",
        "z_load": "load",
        "z_padded1_load": "load",
        "s": "planar",
        "p": "pooling",
    }
    check(FUSED)


def test_an_input_that_leads_to_an_output_through_a_concatenation() -> None:
    text = net((3, 6, 6), conv(5, more=SAME)).rstrip("\n")
    text = text.replace("Output FromTensor=y0", "Concat FromTensor1=x FromTensor2=y0 ToTensor=y\nOutput FromTensor=y\n")
    assert kernels(text, ("", "planar")) == {"x_load": "load", "x_padded1_load": "load", "y0": "planar"}
    check(text)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("optimisation", ["-O0", "-O1", "-O3"])
def test_compilers(compiler: str, optimisation: str) -> None:
    stem = conv(40, "7x7", "StrideH=2 StrideW=2 PaddingH=3 PaddingW=3")
    check(net((3, 17, 31), stem, conv(16, "4x4", "StrideH=4 StrideW=4")), optimisation, compiler)


@pytest.mark.parametrize("width", [5, 30])
def test_on_portable_intrinsics(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN512_RUNNER", "soft")
    check(net((3, 5, width), conv(20, "3x3", f"StrideW=2 {SAME}"), conv(20, "2x1", "PaddingH=1")))


def test_a_picture_of_three_channels_takes_it() -> None:
    """Unforced: a usual first layer; one on patches, which reads the caller's tensor itself; many channels do not."""
    stem = conv(64, "7x7", "StrideH=2 StrideW=2 PaddingH=3 PaddingW=3")
    assert kernels(net((3, 128, 128), stem)) == {"x_padded3_load": "load", "y0": "planar"}
    assert kernels(net((3, 64, 64), conv(96, "8x8", "StrideH=8 StrideW=8"))) == {"y0": "planar"}
    assert kernels(net((32, 128, 128), stem))["y0"] != "planar"
    assert kernels(net((3, 128, 128), stem), ("y0", "direct")) == {"x_load": "load", "y0": "direct"}


def test_readers_of_one_input_agree() -> None:
    """A load is saved by all or by nobody: where another reader wants blocks, there is nothing to be saved."""
    stem = conv(64, "7x7", "StrideH=2 StrideW=2 PaddingH=3 PaddingW=3")
    dilated = conv(64, more="DilationW=20 PaddingW=20")
    shape = (3, 128, 128)
    assert kernels(net(shape, stem))["y0"] == "planar"
    patches = conv(64, "4x4", "StrideH=4 StrideW=4")
    assert kernels(net(shape, stem, patches)) == {"x_padded3_load": "load", "y0": "planar", "y1": "planar"}
    assert kernels(net(shape, dilated)) == {"x_load": "load", "y0": "direct"}
    assert kernels(net(shape, stem, dilated)) == {"x_load": "load", "y0": "direct", "y1": "direct"}


def test_plan() -> None:
    """One copy for each width of padding; the caller's tensor itself for none; a load only where somebody needs it."""
    program = optimize(parse(net((3, 9, 9), conv(4, more=SAME), conv(4, "5x3", SAME), conv(4), conv(4, "1x1"))))
    readers = planes_readers(program)
    assert readers == dict.fromkeys(("y0", "y1", "y2", "y3"), frozenset({"y0", "y1", "y2", "y3"}))
    for count in range(5):
        for chosen in itertools.combinations(readers, count):
            ops = read_planes(program, chosen)
            loads = {op.writes for op in ops if isinstance(op, LoadOp)}
            assert ("x" in loads) == (count < 4)
            assert ("x_padded1" in loads) == bool({"y0", "y1"} & set(chosen))
            sources = {op.branches[0].writes: op.source for op in ops if isinstance(op, ConvOp)}
            planes = {"y0": "x_padded1", "y1": "x_padded1", "y2": "x_data", "y3": "x_data"}
            assert sources == {name: planes[name] if name in chosen else "x" for name in sources}
    forced = tuple((name, "planar") for name in readers)
    plan = decide(program, Options(force=forced)).placement
    assert plan.tensors["x_padded1"].layout == Layout((3,), lanes=1)
    assert plan.tensors["x_padded1"].shape == (3, 9, 11)
    assert plan.tensors["x_padded1"].vectors == -(-3 * 9 * 11 // 16)
    assert not {"x", "x_data"} & set(plan.tensors)
