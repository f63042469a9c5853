"""Grouped convolutions whose groups fall into blocks: every form, on exact data and with NaN in single channels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.kernels.sliding_tile import UNROLLED, Sweeping, inputs_read, inside, sliding_tiles
from nn512.options import Options
from nn512.plan.conv_geometry import Axis, span_of
from nn512.plan.plan import PlannedLayer

REGIMES = ("exact", "gaussian", "nonfinite")


def net(shape: tuple[int, int, int], *convs: str) -> str:
    """A net of convolutions that all read the input."""
    channels, height, width = shape
    lines = ["Config Prefix=Net", f"Input ToTensor=x Channels={channels} Height={height} Width={width}"]
    for number, conv in enumerate(convs):
        lines += [f"Conv FromTensor=x ToTensor=y{number} {conv}", f"Output FromTensor=y{number}"]
    return "\n".join(lines) + "\n"


def check(text: str, optimisation: str = "-Og", compiler: str = "", force: str = "grouped") -> Report:
    """The report of a check with a kernel forced wherever it applies; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(text, {"force": [["", force]]}, optimisation, data, compiler))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def plan(text: str, force: str = "grouped") -> Sequence[PlannedLayer]:
    """The convolutions of a plan."""
    layers: Sequence[PlannedLayer] = compile_graph(text, Options(force=(("", force),) if force else ())).plan.layers
    return [layer for layer in layers if layer.kernel not in {"load", "store", "pad"}]


def taken(text: str, force: str = "grouped") -> list[bool]:
    """For each convolution whether the forced kernel took it."""
    return [layer.kernel == "grouped" for layer in plan(text, force)]


def conv(outputs: int, groups: int, taps: str = "3x3", more: str = "") -> str:
    """A convolution's fields."""
    height, width = taps.split("x")
    return f"ToChannels={outputs} FilterH={height} FilterW={width} Groups={groups} {more}"


SAME = "PaddingH=1 PaddingW=1"


@pytest.mark.parametrize("inputs", [2, 4, 8])
def test_outputs_per_group(inputs: int) -> None:
    """As many as inputs, or several times as many: then blocks of outputs share a block of inputs."""
    groups = 40 // inputs
    text = net((40, 5, 9), *(conv(40 * ratio, groups, more=SAME) for ratio in (1, 2, 3, 5)))
    assert all(taken(text))
    classes = {name for layer in check(text).layers for name in layer.edge_classes}
    assert {f"inputs of a group {inputs}", "outputs for an input one", "outputs for an input several"} <= classes
    assert "output tail 8" in classes


def test_what_does_not_line_up_is_left_to_the_direct_kernel() -> None:
    """Three inputs per group; fewer outputs than inputs; 5 outputs of 8 inputs; whole blocks of inputs; one group."""
    text = net((48, 4, 5), conv(48, 16), conv(24, 12), conv(30, 6), conv(24, 3), conv(48, 1))
    assert not any(taken(text))
    check(text)


@pytest.mark.parametrize("width", [1, 2, 6, 13, 14, 15, 27, 29, 43])
def test_widths(width: int) -> None:
    check(net((16, 3, width), conv(16, 4, more=SAME), conv(16, 2, "1x1"), conv(16, 8, "3x1", "PaddingH=2")))


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_strides_and_dilations(stride: int) -> None:
    """Where taps share columns (stride 2), where they do not (stride 3), and where some do (stride 2, dilation 3)."""
    more = f"StrideH={stride} StrideW={stride}"
    text = net(
        (20, 11, 33),
        conv(20, 5, more=f"{more} {SAME}"),
        conv(20, 5, more=f"{more} DilationW=2 PaddingW=2 PaddingH=1"),
        conv(20, 5, "2x5", f"{more} DilationW=3 DilationH=2 PaddingW=6 PaddingH=2"),
        conv(20, 5, "1x4", f"{more} PaddingW=3 PaddingH=1"),
        conv(40, 10, "5x7", f"{more} PaddingW=3 PaddingH=2"),
    )
    assert all(taken(text))
    classes = {name for layer in check(text).layers for name in layer.edge_classes}
    assert {"rows clipped", "output tail 4"} <= classes


def test_wide_filters_and_wide_padding() -> None:
    """More taps than fit in registers; filters that reach beyond both ends of the picture; tiles in padding alone."""
    text = net(
        (8, 3, 10),
        conv(8, 2, "1x13", "PaddingW=6"),
        conv(8, 2, "5x12", "PaddingW=8 PaddingH=4"),
        conv(8, 2, "1x3", "PaddingW=20"),
        conv(8, 2, "3x3", "PaddingW=9 PaddingH=9 DilationW=9 DilationH=9"),
        conv(8, 2, "1x40", "PaddingW=30 DilationW=1"),
    )
    assert all(taken(text))
    check(text)


def test_rows_that_see_padding_alone() -> None:
    """The compiler must not see a pointer outside the only row of the picture."""
    check(net((16, 1, 16), conv(16, 4, "1x3", "PaddingH=1 PaddingW=1"), conv(16, 8, "2x1", "PaddingH=2")), "-O3", "gcc")


FUSED = """
Config Prefix=Net
Input ToTensor=x Channels=24 Height=7 Width=15
BatchNorm FromTensor=x ToTensor=n Epsilon=0.75
Conv FromTensor=n ToTensor=c ToChannels=24 FilterH=3 FilterW=3 Groups=6
BatchNorm FromTensor=c ToTensor=b Epsilon=0.75
Activation FromTensor=b ToTensor=r Kind=ReLU Param=0.5
Conv FromTensor=r ToTensor=d ToChannels=24 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=12
Add FromTensor1=d FromTensor2=r ToTensor=s
Activation FromTensor=s ToTensor=t Kind=ReLU Param=0
Output FromTensor=t
Activation FromTensor=s ToTensor=u Kind=ReLU Param=-1
Conv FromTensor=u ToTensor=e ToChannels=48 FilterH=1 FilterW=3 PaddingW=1 Groups=3
Output FromTensor=e
Concat FromTensor1=t FromTensor2=r ToTensor=cat
Conv FromTensor=cat ToTensor=f ToChannels=48 FilterH=3 FilterW=3 Groups=12
Output FromTensor=f
"""


def test_with_everything_fused_around_it() -> None:
    """Batch norms before and after, activations before and after, additions, and a concatenation that is irregular."""
    assert sum("per group permuted" in layer.algorithm for layer in plan(FUSED)) == 3
    check(FUSED)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("optimisation", ["-O0", "-O1", "-O3"])
def test_compilers(compiler: str, optimisation: str) -> None:
    text = net((32, 4, 17), conv(32, 8, more=SAME), conv(96, 16, more="StrideW=2"), conv(32, 4, "1x2", "StrideW=2"))
    check(text, optimisation, compiler)


def test_the_cheapest_kernel_is_the_right_one() -> None:
    """Unforced: groups of 4 and 8 take the permutations; one big group, or groups of 6, the direct kernel."""
    text = net((48, 14, 14), *(conv(48, groups, more=SAME) for groups in (12, 6, 8, 1)))
    assert taken(text, "") == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("taps", [1, 2, 3, 7, 12, 13])
def test_tiles_fit_what_is_unrolled(taps: int) -> None:
    """Tiles cover a row; a loop over columns is short enough to be unrolled, sees the picture, and reads less."""
    for stride, dilation, padding, out in itertools.product((1, 2, 3, 5), (1, 2, 4), (0, 1, 5), (1, 6, 14, 15, 57)):
        size = (out - 1) * stride + (taps - 1) * dilation + 1 - 2 * padding
        if size < 1:
            continue
        axis = Axis(size, out, taps, stride, padding, dilation)
        tiles, sweeping = sliding_tiles(axis)
        spans = [range(tile.start, tile.start + tile.size * times) for tile, times in tiles]
        assert [x for span in spans for x in span] == list(range(out))
        for tile, _ in tiles if sweeping is Sweeping.COLUMNS else ():
            low, high = inside(axis, tile)
            assert 0 <= low < high <= span_of(axis, tile.size) <= UNROLLED
            assert inputs_read(axis, tile, sweeps=True) <= inputs_read(axis, tile, sweeps=False)
