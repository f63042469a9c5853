"""Functions of two tensors in every kernel that does steps on what it reads or writes, and wrong C that is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph

Emit = Callable[..., Any]
"""What emits a net, and gives what judges it (conftest.py)."""

KINDS = ("Add", "Sub", "Mul", "Div", "Max", "Min")

REGIMES = ("exact", "gaussian", "wide", "nonfinite")

CLIP = "Kind=Clip Min=0.5 Max=3"
"""Numbers that may be divided by."""


def check(text: str, optimisation: str = "-Og", regimes: tuple[str, ...] = REGIMES, **options: object) -> Report:
    data = tuple(DataSeed(regime, 1) for regime in regimes)
    report = check_case(Case(text, options, optimisation, data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def net(*lines: str) -> str:
    return "\n".join(("Config Prefix=Net", *lines)) + "\n"


def spreads(
    channels: int, height: int, width: int, kinds: Sequence[str] = KINDS, spread: Sequence[int] = range(8)
) -> list[str]:
    """Lines of a net in which kinds have operands of every shape that fits, and the tensor itself.

    The bits of a `spread` say which extents of an operand are 1: channels, rows, columns.
    """
    lines = [f"Input ToTensor=x Channels={channels} Height={height} Width={width}"]
    for bits in spread:
        extents = (1 if bits >> axis & 1 else full for axis, full in enumerate((channels, height, width)))
        shape = " ".join(f"{name}={n}" for name, n in zip(("Channels", "Height", "Width"), extents, strict=True))
        lines.append(f"Input ToTensor=o{bits} {shape}")
        for kind in kinds:
            lines += [
                f"{kind} FromTensor1=x FromTensor2=o{bits} ToTensor=y{kind}{bits}",
                f"Output FromTensor=y{kind}{bits}",
            ]
    for kind in kinds:
        lines += [
            f"{kind} FromTensor1=x FromTensor2=x ToTensor=own{kind}",
            f"Add FromTensor1=own{kind} FromTensor2=x ToTensor=z{kind}",  # a difference alone would be zero
            f"Output FromTensor=z{kind}",
        ]
    return lines


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 1, 1), (1, 3, 2), (15, 1, 4), (16, 3, 1), (17, 2, 3), (35, 4, 5)]
)
def test_every_shape_of_operand(channels: int, height: int, width: int, runs_here: str) -> None:
    assert runs_here
    report = check(net(*spreads(channels, height, width)))
    classes = {edge for layer in report.layers for edge in layer.edge_classes}
    assert f"channel tail {channels % 16}" in classes


KERNELS = """\
Config Prefix=Net
Input ToTensor=image Channels=3 Height=11 Width=13
Input ToTensor=gate20 Channels=20 Height=1 Width=1
Input ToTensor=gate35 Channels=35 Height=1 Width=1
Input ToTensor=gate32 Channels=32 Height=1 Width=1
Input ToTensor=one Channels=1 Height=1 Width=1
Conv FromTensor=image ToTensor=planar ToChannels=20 FilterH=3 FilterW=3 StrideH=2 StrideW=2 PaddingH=1 PaddingW=1
{kind} FromTensor1=planar FromTensor2=gate20 ToTensor=a
Conv FromTensor=a ToTensor=direct ToChannels=35 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
{kind} FromTensor1=direct FromTensor2=one ToTensor=b
Pooling FromTensor=b ToTensor=bLargest Kind=MaxGlobal
{kind} FromTensor1=b FromTensor2=gate35 ToTensor=c
Conv FromTensor=c ToTensor=pointwise ToChannels=32 FilterH=1 FilterW=1
{kind} FromTensor1=pointwise FromTensor2=gate32 ToTensor=d
Conv FromTensor=d ToTensor=depthwise ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=32
{kind} FromTensor1=d FromTensor2=depthwise ToTensor=e
Pooling FromTensor=e ToTensor=eAverage Kind=AvgGlobal
{kind} FromTensor1=e FromTensor2=eAverage ToTensor=f
Conv FromTensor=f ToTensor=grouped ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=8
Concat FromTensor1=grouped FromTensor2=b ToTensor=joined
Input ToTensor=gate67 Channels=67 Height=1 Width=1
{kind} FromTensor1=joined FromTensor2=gate67 ToTensor=g
Pooling FromTensor=g ToTensor=largest Kind=Max3x3Stride2 PaddingH=1 PaddingW=1
{kind} FromTensor1=joined FromTensor2=one ToTensor=h
Pooling FromTensor=h ToTensor=averages Kind=Avg2x2Stride2 PaddingH=1
{kind} FromTensor1=averages FromTensor2=gate67 ToTensor=i
FullyConnected FromTensor=i ToTensor=full ToChannels=35
{kind} FromTensor1=full FromTensor2=gate35 ToTensor=j
{kind} FromTensor1=j FromTensor2=one ToTensor=k
{kind} FromTensor1=bLargest FromTensor2=k ToTensor=l
Output FromTensor=l
Output FromTensor=largest
"""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel(kind: str, runs_here: str) -> None:
    assert runs_here
    report = check(KERNELS.format(kind=kind))
    kernels = {layer.kernel for layer in report.layers}
    assert kernels >= {"planar", "pointwise", "depthwise", "grouped", "pooling", "elementwise"}


@pytest.mark.parametrize(("kind", "force"), [("Sub", "direct"), ("Max", "winograd-4x4"), ("Mul", "fourier-8")])
def test_forced_kernels(kind: str, force: str, runs_here: str) -> None:
    assert runs_here
    check(KERNELS.format(kind=kind), "-O1", force=[["", force]])


def test_without_passes(runs_here: str) -> None:
    """Every step is a layer of its own."""
    assert runs_here
    report = check(KERNELS.format(kind="Div"), without_passes=["fuse_elementwise", "dedup"])
    assert [layer.kernel for layer in report.layers].count("elementwise") >= 11


SWAPPED = net(
    "Input ToTensor=x Channels=21 Height=5 Width=6",
    *(f"Conv FromTensor=x ToTensor=a{n} ToChannels=21 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1" for n in range(4)),
    "Sub FromTensor1=x FromTensor2=a0 ToTensor=y0",  # x is not the convolution's: x - it
    "Sub FromTensor1=a1 FromTensor2=x ToTensor=y1",
    f"Activation FromTensor=a2 ToTensor=c2 {CLIP}",
    f"Activation FromTensor=a3 ToTensor=c3 {CLIP}",
    "Div FromTensor1=x FromTensor2=c2 ToTensor=y2",
    "Div FromTensor1=c3 FromTensor2=y2 ToTensor=y3",
    *(f"Output FromTensor=y{n}" for n in range(4)),
)


def test_the_first_tensor_stays_the_first(runs_here: str) -> None:
    """Differences and quotients move into the convolution that makes their second tensor, too."""
    assert runs_here
    report = check(SWAPPED)
    assert not [layer for layer in report.layers if layer.kernel == "elementwise"]
    source = compile_graph(SWAPPED).source
    assert re.search(r"_mm512_sub_ps\(_mm512_loadu_ps\(sub0 [^;]*\), acc", source)
    assert re.search(r"_mm512_div_ps\(_mm512_loadu_ps\(div1 [^;]*\), acc", source)


EXCITED = net(
    "Input ToTensor=image Channels=20 Height=6 Width=7",
    "Conv FromTensor=image ToTensor=x ToChannels=36 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
    "Pooling FromTensor=x ToTensor=p Kind=AvgGlobal",
    "FullyConnected FromTensor=p ToTensor=q ToChannels=36",
    f"Activation FromTensor=q ToTensor=gate {CLIP}",
    "Mul FromTensor1=x FromTensor2=gate ToTensor=y",
)


def test_the_gate_of_a_block_rides_on_what_reads_it(runs_here: str) -> None:
    """One vector per block: a 1x1 convolution multiplies what it reads, a sum does it in the same pass."""
    assert runs_here
    text = EXCITED + "Conv FromTensor=y ToTensor=z ToChannels=24 FilterH=1 FilterW=1\nOutput FromTensor=z\n"
    report = check(text)
    assert "elementwise" not in {layer.kernel for layer in report.layers}
    assert "_mm512_loadu_ps(mul0[c / 16])" in compile_graph(text).source
    residual = "Conv FromTensor=image ToTensor=i ToChannels=36 FilterH=1 FilterW=1\n"
    residual += "Add FromTensor1=y FromTensor2=i ToTensor=s\nActivation FromTensor=s ToTensor=z Kind=ReLU\n"
    report = check(EXCITED + residual + "Output FromTensor=z\n")
    assert [layer.kernel for layer in report.layers].count("elementwise") == 1


def test_a_gate_without_a_neighbour_is_one_pass_of_two_instructions(runs_here: str) -> None:
    assert runs_here
    text = EXCITED + "Output FromTensor=y\n"
    check(text)
    source = compile_graph(text).source
    loop = source[source.index("const __m512 mul0 = _mm512_loadu_ps(gate[block][0]);") :].split("}\n")[0]
    assert loop.count("_mm512") == 4  # the gate, once; a load, a product, a store


@pytest.mark.parametrize("optimisation", ["-O1", "-O3"])
def test_compilers_find_nothing_to_warn_of(optimisation: str, runs_here: str) -> None:
    assert runs_here
    check(net(*spreads(2, 2, 3)), optimisation, ("exact",))


BROKEN = (
    ("Sub", 0, r"_mm512_sub_ps\((\w+), (_mm512_loadu_ps\([^;]*\))\)", r"_mm512_sub_ps(\2, \1)"),
    ("Div", 1, r"_mm512_div_ps\((\w+), (_mm512_set1_ps\([^;]*\))\)", r"_mm512_div_ps(\2, \1)"),
    ("Mul", 6, r"_mm512_mul_ps\(v, mul0\)", r"_mm512_mul_ps(v, v)"),
    ("Max", 6, r"_mm512_mask_max_ps\(v, \w+, v, (\w+)\)", r"_mm512_max_ps(v, \1)"),  # NaN in v is lost
    ("Min", 6, r"_mm512_mask_min_ps\(v, \w+, v, (\w+)\)", r"_mm512_min_ps(\1, v)"),  # NaN in the operand is lost
    ("Max", 7, r"_mm512_mask_max_ps", r"_mm512_mask_min_ps"),
    ("Mul", 6, r"_loadu_ps\((o6)\[block\]", r"_loadu_ps(\1[0]"),  # one gate for all blocks
    ("Mul", 1, r"_set1_ps\((\w+)\[p \* 16\]\)", r"_loadu_ps(\1 + p * 16)"),  # the number is in the first lane alone
    ("Mul", 4, r"(o4\[block\])\[y\]", r"\1[0]"),
    ("Add", 5, r"(o5\[0\])\[y\]", r"\1[0]"),
    ("Add", 2, r"add0 \+ x \* 16", r"add0"),
)


@pytest.mark.parametrize(("kind", "spread", "pattern", "replacement"), BROKEN)
def test_planted_errors_are_found(kind: str, spread: int, pattern: str, replacement: str, emit: Emit) -> None:
    text = net(*spreads(17, 2, 3, (kind,), (spread,)))
    source, judge = emit(text, "exact:1", "nonfinite:1", "nonfinite:2")
    wrong, count = re.subn(pattern, replacement, source)
    assert count
    assert not judge(wrong).verified
