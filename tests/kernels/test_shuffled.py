"""Weights for channels in the order before a shuffle: of every kernel with weights, whatever the groups are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.ir import ConvOp, FullyConnectedOp
from nn512.kernels.edges import SHUFFLED
from nn512.kernels.registry import KERNELS, kernel_named
from nn512.options import Options

WITH_ORDER = tuple(kernel.name for kernel in KERNELS if SHUFFLED() in kernel.edge_classes)
WITHOUT_ORDER = {"grouped", "grouped-bf16", "planar-bf16"}
"""Groups would not stay together, and pairs of columns are packed row by row of the filter."""

ALIKE = ("winograd", "fourier")
"""Kernels whose weights are packed by the same routine, whatever their size."""

TESTED = (
    *(name for name in WITH_ORDER if not name.startswith(ALIKE)),
    *(
        "winograd-3x3-fp16",
        "winograd-2x4",
        "winograd-2x2-bf16",
        "fourier-8",
        "fourier-8-fp16",
        "fourier-16",
        "fourier-32",
    ),
)
FILTERS = {"pointwise": "FilterH=1 FilterW=1", "fourier-32": "FilterH=1 FilterW=7 StrideW=2"}
FILTERS["fourier-16"] = "FilterH=7 FilterW=7 StrideH=2 StrideW=2 PaddingH=3 PaddingW=3"  # both have phases

CHANNELS = ((6, 2), (6, 3), (15, 5), (34, 17), (40, 4), (48, 2))
"""Channels, and groups that are not as many as each of them has channels: no shuffle is its own inverse."""


def check(lines: Iterator[str], kernel: str) -> Report:
    """The report of a check with a kernel forced; nothing may be wrong with it."""
    options = Options(force=(("", kernel),), platform=kernel_named(kernel).platform)
    text = "\n".join(("Config Prefix=Net", *lines)) + "\n"
    data = tuple(DataSeed(regime, 1) for regime in ("exact", "taps", "gaussian", "nonfinite"))
    report = check_case(Case(text, options.to_dict(), data=data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def layers_of(report: Report, kernel: str) -> int:
    """How many layers of a kernel have weights in the order before a shuffle."""
    return sum(layer.kernel == kernel and SHUFFLED() in layer.edge_classes for layer in report.layers)


def layer(kernel: str, source: str, to: str, channels: int, outputs: int) -> Iterator[str]:
    """What a kernel can compute; a 1x1 convolution behind a depthwise one."""
    filter_ = FILTERS.get(kernel, "FilterH=3 FilterW=3")
    if kernel.startswith("fully"):
        yield f"FullyConnected FromTensor={source} ToTensor={to} ToChannels={outputs}"
    elif kernel == "depthwise":
        yield f"Conv FromTensor={source} ToTensor={to}d ToChannels={channels} {filter_} Groups={channels}"
        yield f"BatchNorm FromTensor={to}d ToTensor={to}n"
        yield f"Conv FromTensor={to}n ToTensor={to} ToChannels={outputs} FilterH=1 FilterW=1"
    else:
        yield f"Conv FromTensor={source} ToTensor={to} ToChannels={outputs} {filter_}"


def shuffles(kernel: str) -> Iterator[str]:
    """For each number of channels a picture, the picture shuffled, and a layer that reads that."""
    for n, (channels, groups) in enumerate(CHANNELS):
        yield f"Input ToTensor=x{n} Channels={channels} Height=7 Width=9"
        yield f"Shuffle FromTensor=x{n} ToTensor=s{n} Groups={groups}"
        yield from layer(kernel, f"s{n}", f"y{n}", channels, 3 + 7 * n)
        yield f"Output FromTensor=y{n}"


def test_all_kernels_with_weights_can_have_an_order() -> None:
    weighted = {kernel.name for kernel in KERNELS if kernel.computes in (ConvOp, FullyConnectedOp)}
    assert weighted == {*WITH_ORDER, *WITHOUT_ORDER}


@pytest.mark.parametrize("kernel", TESTED)
def test_every_shuffle(runs_here: str, kernel: str) -> None:
    assert runs_here
    report = check(shuffles(kernel), kernel)
    few = sum(channels <= 16 for channels, _ in CHANNELS)
    assert layers_of(report, kernel) == (few if kernel == "planar" else len(CHANNELS))


@pytest.mark.parametrize("kernel", [name for name in TESTED if name != "planar"])
def test_shuffles_of_parts_with_norms(runs_here: str, kernel: str) -> None:
    """Two parts that each end inside a block; norms of what is read are folded in, channel by channel."""
    assert runs_here

    def lines() -> Iterator[str]:
        yield "Input ToTensor=x Channels=3 Height=6 Width=7"
        for part, channels in (("a", 5), ("b", 19)):
            yield f"Conv FromTensor=x ToTensor={part} ToChannels={channels} FilterH=1 FilterW=1"
        yield "Concat FromTensor1=a FromTensor2=b ToTensor=c"
        yield "Shuffle FromTensor=c ToTensor=d Groups=3"
        yield "BatchNorm FromTensor=d ToTensor=e"
        yield from layer(kernel, "e", "f", 24, 21)
        yield "BatchNorm FromTensor=f ToTensor=g"
        yield "Activation FromTensor=d ToTensor=h Kind=ReLU"
        yield from layer(kernel, "h", "i", 24, 9)
        yield "Output FromTensor=g"
        yield "Output FromTensor=i"

    check(lines(), kernel)
