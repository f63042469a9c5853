"""Activation functions in every kernel that does steps on what it reads or writes, and wrong C that is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report

Emit = Callable[..., Any]
"""What emits a net, and gives what judges it (conftest.py)."""

REGIMES = ("exact", "taps", "gaussian", "wide", "nonfinite")

FUNCTIONS = (
    *("Kind=Clip Min=0 Max=6", "Kind=Clip Min=1.5 Max=2.25", "Kind=Clip Min=-1 Max=-0.1", "Kind=HardSwish"),
    *("Kind=HardSigmoid Alpha=0.2 Beta=0.5", "Kind=Sigmoid", "Kind=SiLU", "Kind=Tanh"),
    "Kind=PReLU",
)
"""Of some, channels and pixels that are padding would be no zeros: clips to what lies above zero, sigmoids."""

OTHERS = (
    *("Kind=GELU", "Kind=GELUTanh", "Kind=ELU", "Kind=ELU Param=-0.5", "Kind=Softplus", "Kind=Mish", "Kind=Exp"),
    *("Kind=Log", "Kind=Sqrt", "Kind=Square", "Kind=Abs", "Kind=Neg", "Kind=Reciprocal"),
)
"""Of some, channels and pixels that are padding would be infinite or NaN."""

SMALL = """\
Config Prefix=Net
Input ToTensor=x Channels=5 Height=3 Width=7
Activation FromTensor=x ToTensor=alone {function}
Conv FromTensor=alone ToTensor=padded ToChannels=17 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=padded ToTensor=a {function}
Pooling FromTensor=a ToTensor=means Kind=AvgGlobal
FullyConnected FromTensor=means ToTensor=full ToChannels=3
Activation FromTensor=full ToTensor=y {function}
Softmax FromTensor=alone ToTensor=shares
Output FromTensor=shares
Output FromTensor=padded
Output FromTensor=a
Output FromTensor=y
"""

KERNELS = """\
Config Prefix=Net
Input ToTensor=image Channels=3 Height=19 Width=21
Conv FromTensor=image ToTensor=planar ToChannels=20 FilterH=3 FilterW=3 StrideH=2 StrideW=2 PaddingH=1 PaddingW=1
Activation FromTensor=planar ToTensor=a {function}
Conv FromTensor=a ToTensor=direct ToChannels=35 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=direct ToTensor=b {function}
BatchNorm FromTensor=b ToTensor=bNorm
Activation FromTensor=bNorm ToTensor=bAgain {function}
Conv FromTensor=bAgain ToTensor=pointwise ToChannels=32 FilterH=1 FilterW=1
Activation FromTensor=pointwise ToTensor=c {function}
Conv FromTensor=c ToTensor=depthwise ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=32
Activation FromTensor=depthwise ToTensor=d {function}
Conv FromTensor=d ToTensor=grouped ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=8
Activation FromTensor=grouped ToTensor=e {function}
Concat FromTensor1=e FromTensor2=b ToTensor=joined
Activation FromTensor=joined ToTensor=both {function}
Pooling FromTensor=both ToTensor=largest Kind=Max3x3Stride2 PaddingH=1 PaddingW=1
Pooling FromTensor=both ToTensor=averages Kind=Avg2x2Stride2 PaddingH=1
Activation FromTensor=averages ToTensor=f {function}
FullyConnected FromTensor=f ToTensor=full ToChannels=19
Activation FromTensor=full ToTensor=g {function}
Softmax FromTensor=g ToTensor=soft
Input ToTensor=other Channels=5 Height=3 Width=7
Activation FromTensor=other ToTensor=alone {function}
Conv FromTensor=alone ToTensor=padded ToChannels=17 FilterH=3 FilterW=3 PaddingH=2 PaddingW=2
Conv FromTensor=alone ToTensor=twice ToChannels=5 FilterH=1 FilterW=1 PaddingH=1 PaddingW=1
Input ToTensor=third Channels=18 Height=5 Width=6
BatchNorm FromTensor=third ToTensor=thirdNorm
Activation FromTensor=thirdNorm ToTensor=before {function}
Conv FromTensor=before ToTensor=behind ToChannels=17 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=behind
Output FromTensor=soft
Output FromTensor=largest
Output FromTensor=padded
Output FromTensor=twice
"""


def check(text: str, **options: object) -> Report:
    report = check_case(Case(text, options, data=tuple(DataSeed(regime, 1) for regime in REGIMES)))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


@pytest.mark.parametrize("function", FUNCTIONS[1:6:2])
@pytest.mark.parametrize("force", ["", "direct", "fully_connected"])
def test_every_kernel(function: str, force: str, runs_here: str) -> None:
    assert runs_here
    report = check(KERNELS.format(function=function), force=[["", force]] if force else [])
    if not force:
        kernels = {layer.kernel for layer in report.layers}
        assert kernels >= {"planar", "direct", "pointwise", "depthwise", "grouped", "pooling", "elementwise", "softmax"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_passes(function: str, runs_here: str) -> None:
    """Every step is a layer of its own."""
    assert runs_here
    report = check(KERNELS.format(function=function), without_passes=["fuse_elementwise", "fold_batchnorm"])
    assert [layer.kernel for layer in report.layers].count("elementwise") >= 9


@pytest.mark.parametrize("function", OTHERS)
def test_every_function(function: str, runs_here: str) -> None:
    """Alone, before padding, before what adds up all channels, and in registers."""
    assert runs_here
    check(SMALL.format(function=function))


@pytest.mark.parametrize("width", [1, 13, 16, 17, 29])
def test_edges(width: int, runs_here: str) -> None:
    assert runs_here
    head = f"Config Prefix=Net\nInput ToTensor=x Channels={width} Height=3 Width={width}\n"
    lines = [
        f"Conv FromTensor=x ToTensor=c{n} ToChannels={width} FilterH=3 FilterW=3 PaddingH=1 PaddingW=1\n"
        f"Activation FromTensor=c{n} ToTensor=y{n} {function}\nOutput FromTensor=y{n}\n"
        for n, function in enumerate(FUNCTIONS[:6])
    ]
    check(head + "".join(lines))


TWO = """\
Config Prefix=Net
Input ToTensor=x Channels=32 Height=7 Width=7
Conv FromTensor=x ToTensor=c1 ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c1 ToTensor=y1 {}
Conv FromTensor=y1 ToTensor=c2 ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c2 ToTensor=y2 {}
Activation FromTensor=x ToTensor=z1 {}
Activation FromTensor=x ToTensor=z2 {}
Output FromTensor=y2
Output FromTensor=z1
Output FromTensor=z2
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Kind=Clip Min=0 Max=6", "Kind=Clip Min=0 Max=5"),
        ("Kind=Clip Min=0 Max=1", "Kind=Clip Min=0 Max=1.0000001"),  # the same in six digits
        ("Kind=Clip Min=0 Max=1", "Kind=ReLU"),
        ("Kind=HardSwish", "Kind=ReLU"),
    ],
)
def test_what_differs_is_not_shared(one: str, other: str, runs_here: str) -> None:
    """Neither as an equal layer nor as an equal body."""
    assert runs_here
    alike, apart = (nn512.compile(TWO.format(*functions)) for functions in ([one] * 4, [one, other] * 2))
    assert len(apart.source) > len(alike.source)
    check(TWO.format(one, other, one, other))


def test_bounds_are_the_floats_that_the_user_wrote() -> None:
    text = TWO.format("Kind=Clip Min=-0.1 Max=340282346638528859811704183484516925440", *["Kind=Clip Min=0 Max=6"] * 3)
    source = nn512.compile(text).source
    assert {"_mm512_set1_ps(-0.100000001f)", "_mm512_set1_ps(3.40282347e+38f)"} <= set(
        re.findall(r"_mm512_set1_ps\([^)]*\)", source)
    )


BROKEN = [
    ("Kind=PReLU", r"_CMP_LE_OQ", "_CMP_GE_OQ"),
    ("Kind=PReLU", r"_mm512_loadu_ps\(slopes0\[(\w+)\]\)", r"_mm512_set1_ps(slopes0[\1][1])"),
    ("Kind=PReLU", r"\[place / 16\]\[place % 16\] = p->values\[c\]", "[place / 16][place % 16] = p->values[0]"),
    ("Kind=Clip Min=-1 Max=1", r"_mm512_max_ps\(_mm512_set1_ps\(-1.0f\)", r"_mm512_min_ps(_mm512_set1_ps(-1.0f)"),
    ("Kind=Clip Min=-1 Max=1", r"_mm512_set1_ps\(-1.0f\)", r"_mm512_setzero_ps()"),
    ("Kind=Clip Min=0 Max=1", r"\n *\S+ = _mm512_min_ps\(.*", ""),  # a ReLU
    ("Kind=Clip Min=0 Max=1", r"_mm512_min_ps\(([^;]*), ([^;,]*)\);", r"_mm512_min_ps(\2, \1);"),  # NaN is lost
    ("Kind=HardSwish", r"\n *\S+ = _mm512_max_ps\(.*", ""),
    ("Kind=HardSwish", r"_mm512_min_ps\(_mm512_set1_ps\(6.0f\), (.*)\);", r"\1;"),
    ("Kind=HardSwish", r"0\.166666672f", "0.166667f"),
    ("Kind=HardSwish", r"_mm512_set1_ps\(3.0f\)", "_mm512_set1_ps(3.00001f)"),
    ("Kind=HardSigmoid Alpha=0.25 Beta=0.5", r"_mm512_set1_ps\(0.25f\)", "_mm512_set1_ps(0.250001f)"),
    ("Kind=HardSigmoid Alpha=0.25 Beta=0.5", r"_mm512_max_ps\(_mm512_setzero_ps\(\), (.*)\)\);", r"\1);"),
    ("Kind=Sigmoid", r"_mm512_add_ps\(power, _mm512_set1_ps\(1.0f\)\)", "power"),
    ("Kind=Sigmoid", r"1.09050775f", "1.0905f"),  # an entry of the table
    ("Kind=Sigmoid", r"_mm512_set1_ps\(32.0f\)", "_mm512_set1_ps(12.0f)"),
    ("Kind=SiLU", r"_mm512_set1_ps\(-104.0f\)", "_mm512_set1_ps(-4.0f)"),
    ("Kind=SiLU", r"_mm512_mul_ps\(x, (_mm512_div_ps.*)\);", r"\1;"),
    ("Kind=Tanh", r"_mm512_set1_ps\(8.0405426f\)", "_mm512_set1_ps(6.0f)"),
    ("Kind=GELU", r"_mm512_max_ps\(_mm512_setzero_ps\(\), x\)", "x"),
    ("Kind=GELU", r"_mm512_set1_ps\(5.5703125f\)", "_mm512_set1_ps(2.5f)"),
    ("Kind=GELUTanh", r"0.0713548\d*f", "0.0712f"),
    ("Kind=ELU Param=0.5", r"_CMP_LT_OQ", "_CMP_GT_OQ"),
    ("Kind=ELU", r"0.166665435f", "0.166f"),
    ("Kind=Softplus", r"0.3332133\d*f", "0.333f"),
    ("Kind=Mish", r"_mm512_set1_ps\(16.0f\)", "_mm512_set1_ps(5.0f)"),
    ("Kind=Exp", r"_mm512_set1_ps\(-104.0f\)", "_mm512_set1_ps(-3.0f)"),
    ("Kind=Log", r"_MM_MANT_SIGN_nan", "_MM_MANT_SIGN_zero"),
    ("Kind=Log", r"0.333344817f", "0.33f"),
    ("Kind=Log", r"1.08439147f", "1.0843f"),  # an entry of the table
    ("Kind=Log", r"_mm512_srli_epi32\(_mm512_castps_si512\(m\), 19\)", "_mm512_setzero_si512()"),
    ("Kind=Neg", r"_mm512_set1_ps\(-0.0f\)", "_mm512_set1_ps(1.0f)"),
    ("Kind=Tanh", r"0.134467974f", "0.13446f"),
]


@pytest.mark.parametrize(("function", "pattern", "replacement"), BROKEN)
def test_wrong_functions_are_found(function: str, pattern: str, replacement: str, emit: Emit) -> None:
    text = (
        "Config Prefix=Net\nInput ToTensor=x Channels=20 Height=5 Width=9\n"
        f"Activation FromTensor=x ToTensor=y {function}\nOutput FromTensor=y\n"
    )
    source, judge = emit(text, *(f"{regime}:1" for regime in REGIMES))
    broken, count = re.subn(pattern, replacement, source)
    assert count
    problems = judge(broken).problems
    assert problems
    assert all(problem.data is not None for problem in problems), "it builds and runs, but to wrong results"
