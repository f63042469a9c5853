"""Kernels that move channels, rows and columns: concatenations, slices and shuffles, on and off blocks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report

Emit = Callable[..., Any]
"""What emits a net, and gives what judges it (conftest.py)."""

REGIMES = ("exact", "gaussian", "nonfinite")

WITHOUT = ("merge_picks", "drop_concat", "view_slices")
"""Passes without which every node that moves something is a layer."""


def check(*lines: str, without: tuple[str, ...] = WITHOUT, optimisation: str = "-Og") -> Report:
    """The report of a check; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    text = "\n".join(("Config Prefix=Net", *lines)) + "\n"
    report = check_case(Case(text, {"without_passes": list(without)}, optimisation, data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def classes(report: Report, kernel: str) -> set[str]:
    """Edge classes of all layers of a kernel."""
    return {edge_class for layer in report.layers if layer.kernel == kernel for edge_class in layer.edge_classes}


def sliced(channels: int, *parts: tuple[int, ...], axis: str = "Channels") -> list[str]:
    """Lines of a net that hands out slices: from, count and step of each."""
    lines = [f"Input ToTensor=x Channels={channels} Height=5 Width=7"]
    for number, (first, count, *step) in enumerate(parts):
        steps = f"Step={step[0]}" if step else ""
        lines.append(f"Slice FromTensor=x ToTensor=y{number} From={first} Count={count} {steps} Axis={axis}")
        lines.append(f"Output FromTensor=y{number}")
    return lines


@pytest.mark.parametrize("optimisation", ["-O1", "-O2", "-O3"])
def test_compilers_find_nothing_to_warn_of_in_few_channels(runs_here: str, optimisation: str) -> None:
    """Where a compiler sees all sizes, it must also see that everything is set that is read."""
    assert runs_here
    lines = ["Input ToTensor=x Channels=2 Height=1 Width=3", "Slice FromTensor=x ToTensor=y From=1 Count=1"]
    check(*lines, "Output FromTensor=y", optimisation=optimisation)


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 50])
def test_every_run_of_channels(runs_here: str, channels: int) -> None:
    """From every lane, to the end and to one before it, and every second and third channel."""
    assert runs_here
    parts: list[tuple[int, ...]] = []
    for first in range(0, channels, 1 + channels // 18):
        parts += [(first, channels - first), (first, max(channels - first - 1, 1))]
        parts += [(first, (channels - 1 - first) // step + 1, step) for step in (2, 3)]
    report = check(*sliced(channels, *parts))
    found = classes(report, "pick")
    assert any(name.startswith("whole blocks") for name in found)
    assert ("lanes of one tensor" in found) is (channels > 1)
    runs = {name for name in found if name.startswith("runs")}
    assert len(runs) >= min(channels, 16) - 1 - channels // 18


@pytest.mark.parametrize(("axis", "optimisation"), [("Height", "-O1"), ("Width", "-Og")])
def test_pictures_are_cropped_and_sampled(runs_here: str, axis: str, optimisation: str) -> None:
    assert runs_here
    extent = {"Height": 5, "Width": 7}[axis]
    parts = [
        (first, count, step)
        for first, step in itertools.product(range(extent), (1, 2, 3))
        for count in {1, (extent - 1 - first) // step + 1}
    ]
    report = check(*sliced(19, *parts, axis=axis), optimisation=optimisation)
    what = {"Height": "rows", "Width": "columns"}[axis]
    assert classes(report, "crop") == {f"some {what}", f"some every few {what}"}


@pytest.mark.parametrize("channels", [1, 6, 16, 24, 48, 58])
def test_shuffles(runs_here: str, channels: int) -> None:
    assert runs_here
    lines = [f"Input ToTensor=x Channels={channels} Height=3 Width=5"]
    for groups in (groups for groups in range(1, channels + 1) if channels % groups == 0):
        lines += [f"Shuffle FromTensor=x ToTensor=y{groups} Groups={groups}", f"Output FromTensor=y{groups}"]
    check(*lines)


@pytest.mark.parametrize(
    ("height", "width", "found"),
    [(16, 16, "one slab"), (1, 257, "slabs and a smaller one"), (16, 32, "equal slabs")],
)
def test_large_pictures_move_in_slabs(runs_here: str, height: int, width: int, found: str) -> None:
    """By lanes and by runs; three blocks, of which two have channels of one block of the source."""
    assert runs_here
    report = check(
        f"Input ToTensor=x Channels=38 Height={height} Width={width}",
        "Shuffle FromTensor=x ToTensor=y Groups=2",
        "Slice FromTensor=x ToTensor=z From=3 Count=34",
        "Output FromTensor=y",
        "Output FromTensor=z",
    )
    assert {f"picked in {found}", f"gathered in {found}"} <= classes(report, "pick")


JOINED = (
    *(f"Input ToTensor=x{n} Channels={n} Height=3 Width=4" for n in (5, 16, 21)),
    *(f"Activation FromTensor=x{n} ToTensor=r{n} Kind=ReLU" for n in (5, 16, 21)),
    "Concat FromTensor1=r5 FromTensor2=r16 FromTensor3=r21 FromTensor4=r5 ToTensor=c",
    "Concat FromTensor1=c FromTensor2=r16 FromTensor3=c ToTensor=d",
    "Output FromTensor=c",
    "Output FromTensor=d",
)


@pytest.mark.parametrize("without", [(), WITHOUT])
def test_more_than_two_are_joined(runs_here: str, without: tuple[str, ...]) -> None:
    assert runs_here
    report = check(*JOINED, without=without)
    assert bool(classes(report, "concat")) is bool(without)


@pytest.mark.parametrize("axis", ["Height", "Width"])
@pytest.mark.parametrize("without", [(), WITHOUT])
def test_pictures_are_joined(runs_here: str, axis: str, without: tuple[str, ...]) -> None:
    """Of one size and of several, of the same lanes and of others."""
    assert runs_here
    report = check(
        *JOINED,
        "Conv FromTensor=c ToTensor=e ToChannels=47 FilterH=2 FilterW=3",
        "Conv FromTensor=r5 ToTensor=f ToChannels=47 FilterH=2 FilterW=3",
        f"Concat FromTensor1=c FromTensor2=c ToTensor=g Axis={axis}",
        f"Concat FromTensor1=e FromTensor2=f FromTensor3=e ToTensor=h Axis={axis}",
        "Conv FromTensor=r5 ToTensor=i ToChannels=47 FilterH=1 FilterW=1",
        f"Concat FromTensor1=c FromTensor2=i FromTensor3=c FromTensor4=i ToTensor=j Axis={axis}",
        *(f"Output FromTensor={name}" for name in "ghj"),
        without=without,
    )
    assert f"along {axis.lower()}" in classes(report, "concat")
    assert classes(report, "relayout")


def test_slices_of_joins_of_slices(runs_here: str) -> None:
    assert runs_here
    lines = (
        "Input ToTensor=x Channels=40 Height=3 Width=4",
        "Conv FromTensor=x ToTensor=a ToChannels=50 FilterH=1 FilterW=1",
        "Slice FromTensor=a ToTensor=b From=0 Count=25",
        "Slice FromTensor=a ToTensor=c From=16 Count=30",
        "Concat FromTensor1=c FromTensor2=b FromTensor3=b ToTensor=d",
        "Shuffle FromTensor=d ToTensor=e Groups=2",
        "Slice FromTensor=e ToTensor=f From=0 Count=40",
        "Slice FromTensor=e ToTensor=g From=40 Count=40",
        "Add FromTensor1=f FromTensor2=x ToTensor=h",
        "Concat FromTensor1=h FromTensor2=g FromTensor3=f ToTensor=i",
        "Slice FromTensor=i ToTensor=j From=32 Count=60",
        "Conv FromTensor=j ToTensor=k ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=20",
        *(f"Output FromTensor={name}" for name in "bdjk"),
    )
    check(*lines, without=())
    check(*lines, optimisation="-O1")


READERS = {
    "direct": "Conv {} ToChannels=20 FilterH=3 FilterW=3",
    "pointwise": "Conv {} ToChannels=20 FilterH=1 FilterW=1",
    "depthwise": "Conv {} ToChannels=24 FilterH=3 FilterW=3 Groups=24",
    "grouped": "Conv {} ToChannels=24 FilterH=3 FilterW=3 Groups=6",
    "winograd-4x4": "Conv {} ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
    "fourier-8": "Conv {} ToChannels=20 FilterH=5 FilterW=5 PaddingH=2 PaddingW=2",
    "fully_connected": "FullyConnected {} ToChannels=20",
    "pooling": "Pooling {} Kind=Max3x3Stride2",
    "softmax": "Softmax {}",
    "elementwise": "Activation {} Kind=ReLU",
    "store": "Add FromTensor1=v FromTensor2=v ToTensor=y",
}


@pytest.mark.parametrize("kernel", READERS)
def test_nobody_minds_what_stands_behind_the_last_channel(runs_here: str, kernel: str) -> None:
    """Channels that are not of the slice are in lanes of its last block: even NaN in them must not matter."""
    assert runs_here
    lines = (
        "Config Prefix=Net",
        "Input ToTensor=x Channels=48 Height=5 Width=7",
        "Activation FromTensor=x ToTensor=z Kind=ReLU Param=0.5",
        "Slice FromTensor=z ToTensor=v From=16 Count=24",
        READERS[kernel].format("FromTensor=v ToTensor=y"),
        "Output FromTensor=y",
    )
    options = {"force": [["", kernel]]} if READERS[kernel].startswith("Conv") else {}
    data = (DataSeed("exact", 1), *(DataSeed("nonfinite", seed) for seed in range(4)))
    report = check_case(Case("\n".join(lines) + "\n", options, "-Og", data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    assert kernel in {layer.kernel for layer in report.layers}
    assert "pick" not in {layer.kernel for layer in report.layers}


@pytest.mark.parametrize(
    ("lines", "table"),
    [
        (sliced(40, (5, 30)), r"(?<=spans\[\]\[3\] = )[^;]*"),
        (sliced(40, (1, 19, 2)), r"(?<=lanes\[\]\[16\] = )[^;]*"),
        (sliced(20, (1, 3), axis="Height"), r"\[y \+ 1\]"),
        (sliced(20, (1, 3, 2), axis="Width"), r"x \* 2 \+ 1"),
    ],
)
def test_planted_errors_are_found(emit: Emit, lines: list[str], table: str) -> None:
    """A number that is less by one, whichever it is; 1 in place of 0."""
    text = "\n".join(("Config Prefix=Net", *lines)) + "\n"
    source, judge = emit(text, "exact:1")
    found = re.search(table, source)
    assert found is not None
    numbers = list(re.finditer(r"(?<!-)\b\d+\b", found[0]))
    assert numbers
    for number in numbers:
        at = found.start() + number.start()
        other = int(number[0]) - 1 if int(number[0]) else 1
        wrong = f"{source[:at]}{other}{source[at + len(number[0]) :]}"
        assert not judge(wrong).verified, f"{number[0]} in {found[0]}"
