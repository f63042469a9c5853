"""Convolutions on pairs of columns of a caller's tensor: every form of filter, errors planted in the C."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.checker import check_case, check_sources, draw
from fuzz.judge.report import Report
from fuzz.run.build import build_net
from fuzz.run.checks import LIGHT
from fuzz.run.runners import runner_for, soft
from fuzz.run.runners.base import Runner
from fuzz.run.sandbox import execute
from fuzz.targets.base import Sources
from nn512.compiler import compile as compile_graph
from nn512.graph import parse
from nn512.options import Options
from nn512.plan.plan import PlannedLayer
from nn512.toolchain import find_compiler, has_bfloat16

KERNEL = "planar-bf16"
PAIRED = Options(force=(("", KERNEL),), platform="AVX512BFloat16")
REGIMES = ("exact", "impulse", "gaussian", "nonfinite")
SAME = "PaddingH=1 PaddingW=1"

pytestmark = pytest.mark.usefixtures("runs_here")


def net(shape: tuple[int, int, int], *convs: str, order: str = "CHW") -> str:
    """A net of convolutions that all read the input."""
    channels, height, width = shape
    lines = ["Config Prefix=Net", f"Input ToTensor=x Channels={channels} Height={height} Width={width} Order={order}"]
    for number, fields in enumerate(convs):
        lines += [f"Conv FromTensor=x ToTensor=y{number} {fields}", f"Output FromTensor=y{number}"]
    return "\n".join(lines) + "\n"


def conv(outputs: int, taps: str = "3x3", more: str = "") -> str:
    height, width = taps.split("x")
    return f"ToChannels={outputs} FilterH={height} FilterW={width} {more}"


def check(text: str, optimisation: str = "-Og", compiler: str = "") -> Report:
    """The report of a check with the kernel forced wherever it applies; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(text, PAIRED.to_dict(), optimisation, data, compiler))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def kernels(text: str, options: Options = PAIRED) -> dict[str, str]:
    """The kernel of every layer by its name."""
    layers: Sequence[PlannedLayer] = compile_graph(text, options).plan.layers
    return {layer.name: layer.kernel for layer in layers if layer.kernel != "store"}


def classes_of(report: Report) -> set[str]:
    return {name for layer in report.layers for name in layer.edge_classes}


@pytest.mark.parametrize("order", ["CHW", "HWC"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_strides_dilations_and_padding(stride: int, order: str) -> None:
    """Even and odd filters, windows beyond both ends of the picture, rows of the result that see padding alone."""
    more = f"StrideH={stride} StrideW={stride}"
    text = net(
        (3, 10, 33),
        conv(17, more=f"{more} {SAME}"),
        conv(17, more=f"{more} DilationW=2 PaddingW=2 PaddingH=1"),
        conv(32, "2x5", f"{more} DilationW=3 DilationH=2 PaddingW=6 PaddingH=2"),
        conv(9, "7x7", f"{more} PaddingW=3 PaddingH=3"),
        conv(9, "3x4", f"StrideH=2 StrideW={stride} PaddingH=7 PaddingW=9"),
        conv(40, "1x2", more),
        order=order,
    )
    report = check(text)
    assert {layer.kernel for layer in report.layers} == {KERNEL, "store"}
    found = classes_of(report)
    assert {"columns of the filter even", "columns of the filter odd", "pairs of columns put together"} <= found
    assert ("pairs of columns as they stand" in found) == (stride % 2 == 0 and order == "CHW") or stride == 4


@pytest.mark.parametrize("width", [2, 6, 7, 15, 16, 17, 43])
def test_widths(width: int) -> None:
    """One tile and several, of a few rows where the picture is narrow; rows of any number of vectors."""
    strided = f"{SAME} StrideH=2 StrideW=2"
    check(net((2, 5, width), conv(35, more=SAME), conv(5, "1x2"), conv(33, more=strided), conv(5, "2x4", "PaddingW=3")))


@pytest.mark.parametrize("channels", [1, 4, 16])
def test_channels(channels: int) -> None:
    text = net((channels, 6, 16), conv(50, "5x3", "PaddingH=2 PaddingW=1"), conv(16, "2x2", "StrideH=2 StrideW=2"))
    assert {layer.kernel for layer in check(text).layers} == {KERNEL, "store"}


@pytest.mark.parametrize(
    ("optimisation", "compiler"), [("-O0", "clang"), ("-O1", "gcc"), ("-O2", "clang"), ("-O3", "gcc")]
)
def test_compilers(optimisation: str, compiler: str) -> None:
    stem = conv(17, "7x7", "StrideH=2 StrideW=2 PaddingH=3 PaddingW=3")
    for order in ("CHW", "HWC"):
        check(net((3, 7, 18), stem, conv(17, "1x3", "PaddingW=1"), order=order), optimisation, compiler)


FUSED = """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=8 Width=15
Input ToTensor=z Channels=3 Height=8 Width=15
Conv FromTensor=x ToTensor=c ToChannels=3 FilterH=3 FilterW=3
BatchNorm FromTensor=c ToTensor=b Epsilon=0.75
Activation FromTensor=b ToTensor=r Kind=ReLU Param=0.5
Conv FromTensor=z ToTensor=d ToChannels=3 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Add FromTensor1=d FromTensor2=z ToTensor=s
Conv FromTensor=z ToTensor=e ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=e ToTensor=f Kind=ReLU Param=-1
Concat FromTensor1=s FromTensor2=f ToTensor=cat
Output FromTensor=r
Output FromTensor=cat
"""


def test_with_everything_fused_around_it() -> None:
    """Batch norms after it, in its weights, branches, a sum with the very tensor that is convolved."""
    assert kernels(FUSED) == {"r": KERNEL, "f": KERNEL, "z_load": "load", "s": KERNEL}
    check(FUSED)
    strided = f"StrideW=2 {SAME}"
    assert "merged" in classes_of(check(net((3, 6, 9), conv(20, more=strided), conv(33, more=strided))))


def test_others_are_left_to_others() -> None:
    """Filters of one column, many channels, groups, what is no input, and what reads a batch norm."""
    for text in (net((3, 4, 4), conv(8, "3x1")), net((17, 4, 4), conv(8)), net((4, 4, 4), conv(8, more="Groups=2"))):
        assert KERNEL not in kernels(text).values()
    inner = net((3, 6, 6), conv(4)) + f"Conv FromTensor=y0 ToTensor=z {conv(5)}\nOutput FromTensor=z\n"
    assert kernels(inner)["z"] != KERNEL
    norm = "BatchNorm FromTensor=x ToTensor=n\nConv FromTensor=n"
    normed = net((3, 6, 6), conv(4)).replace("Conv FromTensor=x", norm)
    assert KERNEL not in kernels(normed).values()


def test_an_identity_between_the_picture_and_the_filter() -> None:
    """It goes, and the convolution reads the picture, which the graph calls something else there."""
    text = net((3, 6, 9), conv(20, more=SAME)).replace(
        "Conv FromTensor=x", "Activation FromTensor=x ToTensor=r Kind=ReLU Param=1\nConv FromTensor=r"
    )
    assert kernels(text) == {"y0": KERNEL}
    check(text)


def test_readers_of_one_picture_may_pad_it_or_read_a_padded_copy() -> None:
    text = net((3, 6, 9), conv(20, "5x5", "PaddingH=2 PaddingW=2"), conv(33, more=SAME))
    options = Options(force=(("y0", KERNEL), ("y1", "planar")), platform="AVX512BFloat16")
    assert kernels(text, options) == {"y0": KERNEL, "x_padded1_load": "load", "y1": "planar"}
    report = check_case(Case(text, options.to_dict(), "-Og", tuple(DataSeed(regime, 1) for regime in REGIMES)))
    assert report.verified
    assert not report.problems


def test_it_is_the_choice_for_the_first_layer_of_nets() -> None:
    stem = conv(64, "7x7", "StrideH=2 StrideW=2 PaddingH=3 PaddingW=3")
    text = net((3, 224, 224), stem)
    assert kernels(text, Options(platform="AVX512BFloat16")) == {"y0": KERNEL}
    assert kernels(text, Options()) == {"x_padded3_load": "load", "y0": "planar"}


SHIFT = (r"_mm512_slli_epi32\(both, 16\)", "both")
PLANTED = [
    (r"acc\[0\]\[p\] = _mm512_dpbf16_ps[^;]*;", ";", "impulse", "a tap left out"),
    (r"acc\[0\]\[p\] = _mm512_dpbf16_ps[^;]*;(?=(.|\n)*?filter column)", ";", "impulse", "a pair of columns left out"),
    (r"\(odd && place == p->run - 1\)", "0", "exact", "the weight of the lone column in the lower half"),
    (r"place % 2 \* 2\b", "(2 - place % 2 * 2)", "exact", "weights of a pair in the wrong order"),
    (*SHIFT, "nonfinite", "a NaN beside the window multiplied by 0"),
    (r"pbh\(v\)", "pbh(_mm512_cvtph_ps(_mm512_cvtps_ph(v, 0)))", "gaussian", "what is read rounded twice"),
    (r"bits \+= .*", "", "gaussian", "weights cut off instead of rounded"),
    (r"\+ 3\);", "+ 2);", "exact", "the picture a column further left"),
    (r"\| \(uint32_t\)row\[.* << 16;", ";", "exact", "the upper half of pairs left out"),
    (r"memset\(row, 0,.*", "", "exact", "no zeros beside the picture"),
]


@pytest.mark.parametrize(("wrong", "instead", "regime", "what"), PLANTED, ids=[what for *_, what in PLANTED])
def test_planted_errors_are_found(wrong: str, instead: str, regime: str, what: str) -> None:
    order = "HWC" if "row" in wrong else "CHW"
    text = net((3, 9, 21), conv(21, "5x7", "StrideH=2 StrideW=2 PaddingH=2 PaddingW=3"), order=order)
    graph, emitted = parse(text), compile_graph(text, PAIRED)
    case = Case(text, PAIRED.to_dict(), "-O0", (DataSeed(regime, 1),))
    (data,) = draw(case, graph)

    def judge(source: str) -> Report:
        sources = Sources(emitted.prefix, emitted.header, source, emitted.plan)
        return check_sources(case, graph, sources, [data], runner_for(), strict=source == emitted.source)

    assert judge(emitted.source).verified, what
    changed, places = re.subn(wrong, instead, emitted.source, count=1)
    assert places == 1
    assert "values" in {problem.kind for problem in judge(changed).problems}


def test_what_is_read_is_rounded_to_even_once() -> None:
    """Ties of 8 bits and a half, whose neighbours are as near, and a little more than that."""
    text = net((1, 1, 4), conv(1, "1x2", "StrideW=2"))
    params = {"y0Weights": np.array([[[[1, 0]]]], np.float32), "y0Biases": np.zeros(1, np.float32)}
    with nn512.Session(text, params, options=PAIRED) as session:
        picture = np.array([[[1 + 2.0**-8, 5, 1 + 3 * 2.0**-8 - 2.0**-23, 7]]], np.float32)
        result = session.run({"x": picture})["y0"]
    assert (result == np.array([1, 1 + 2.0**-7], np.float32)).all()


@pytest.mark.native
@pytest.mark.parametrize("order", ["CHW", "HWC"])
def test_portable_intrinsics_give_the_same_bits(order: str) -> None:
    compiler = find_compiler()
    if not has_bfloat16(compiler):
        pytest.skip("this processor has no AVX512_BF16")
    text = net((3, 5, 9), conv(16, "3x5", "StrideW=2 PaddingW=2"), order=order)
    graph, emitted = parse(text), compile_graph(text, PAIRED)
    portable = soft.probe(compiler)
    assert isinstance(portable, Runner)
    data = regimes.draw(graph, "wide", 3)
    bits = []
    for runner in (runner_for(), portable):
        executable = build_net(graph, emitted.header, emitted.source, runner, flags=("-Og",))
        (outputs,) = execute(executable, data.params, [data.inputs], LIGHT).outputs
        bits.append(outputs["y0"].tobytes())
    assert bits[0] == bits[1]


def test_padding_so_wide_that_others_read_a_padded_copy() -> None:
    """The kernel is asked about such layers, too, takes them, and makes its own copy."""
    text = net((3, 5, 4), conv(9, "3x3", "PaddingH=1 PaddingW=16"))
    assert kernels(text, Options(force=(("", "direct"),), platform="AVX512BFloat16")) == {
        "x_load": "load",
        "x_padded_for_y0": "pad",
        "y0": "direct",
    }
    assert kernels(text)["y0"] == KERNEL
    check(text)
