"""Kernels that only stream: pooling, softmax, the border to the caller, relayout, at every edge class they declare."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.bench.families import CONSUMERS, Family, Lines, doubled, fibonacci
from nn512.compiler import compile as compile_graph
from nn512.ir.ops.pool import Along
from nn512.kernels.pooling_columns import WIDEST, Column, columns_of

Emit = Callable[..., Any]
"""What emits a net, and gives what judges it (conftest.py)."""

REGIMES = ("exact", "gaussian", "nonfinite")


def check(*lines: str, optimisation: str = "-Og") -> Report:
    """The report of a check; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case("\n".join(("Config Prefix=Net", *lines)) + "\n", {}, optimisation, data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def crowded(channels: int, lines: Lines, number: int = 3) -> str:
    """A small net of a family, the tensors of which have more segments than a low limit allows."""
    return Family(lines, x=lambda _: (channels, 2, 3)).text(number)


def classes(report: Report, kernel: str) -> set[str]:
    """Edge classes of all layers of a kernel."""
    return {edge_class for layer in report.layers if layer.kernel == kernel for edge_class in layer.edge_classes}


def pooled(kind: str, shapes: list[tuple[int, int]]) -> list[str]:
    """Lines of a net that pools pictures of some shapes with every padding there is."""
    window = int(kind[3])
    lines: list[str] = []
    for number, (height, width) in enumerate(shapes):
        lines.append(f"Input ToTensor=x{number} Channels=19 Height={height} Width={width}")
        for rows, columns in itertools.product(range(window), repeat=2):
            if height + 2 * rows >= window and width + 2 * columns >= window:
                to = f"y{number}r{rows}c{columns}"
                padding = f"PaddingH={rows} PaddingW={columns}"
                lines.append(f"Pooling FromTensor=x{number} ToTensor={to} Kind={kind} {padding}")
                lines.append(f"Output FromTensor={to}")
    return lines


@pytest.mark.parametrize("kind", ["Max2x2Stride2", "Avg2x2Stride2", "Max3x3Stride2", "Avg3x3Stride2"])
def test_windows(kind: str, runs_here: str) -> None:
    assert runs_here
    report = check(*pooled(kind, [(1, 2), (3, 3), (4, 7)]))
    window = int(kind[3])
    what = "maximum" if kind.startswith("Max") else "average"
    wanted = {f"{what} columns {columns}" for columns in range(1, window + 1)}
    fit = {f"{what} windows' {axis} {'overlap' if window > 2 else 'side by side'}" for axis in ("rows", "columns")}
    assert classes(report, "pooling") >= {*wanted, *fit, f"{what} rows clipped", f"{what} rows whole"}


FREE = """
WindowH=3 WindowW=3 PaddingH=1 PaddingW=1
WindowH=2 WindowW=2
WindowH=2 WindowW=4 StrideH=1 StrideW=3 PaddingBottom=1 PaddingRight=2
WindowH=4 WindowW=2 StrideH=3 StrideW=1 PaddingTop=3 PaddingLeft=1
WindowH=3 WindowW=3 StrideH=2 StrideW=2 PaddingBottom=1 PaddingRight=1
WindowH=1 WindowW=2 StrideH=3 StrideW=5
WindowH=5 WindowW=9 PaddingH=2 PaddingW=4
WindowH=13 WindowW=13 PaddingH=6 PaddingW=6
WindowH=30 WindowW=40 StrideH=7 StrideW=2 PaddingH=29 PaddingLeft=39 PaddingRight=30
WindowH=7 WindowW=11
"""


@pytest.mark.parametrize("kind", ["Max", "Avg", "Avg CountPadding=1"])
def test_windows_of_any_numbers(kind: str, runs_here: str) -> None:
    """Overlapping and apart, of two strides, padded on one side, wide, larger than the picture, and the picture."""
    assert runs_here
    lines = ["Input ToTensor=x Channels=19 Height=7 Width=11"]
    for number, fields in enumerate(FREE.strip().splitlines()):
        lines.append(f"Pooling FromTensor=x ToTensor=y{number} Kind={kind} {fields}")
        lines.append(f"Output FromTensor=y{number}")
    found = classes(check(*lines), "pooling")
    what = "maximum" if kind == "Max" else "average"
    fits = {f"{what} windows' {axis} {fit}" for axis in ("rows", "columns") for fit in ("overlap", "apart")}
    seen = {f"{what} columns {columns}" for columns in (1, 2, 3, 4, 9, "cut")}
    assert found >= {*fits, *seen, f"{what} pixels 5", f"{what} rows whole", f"{what} rows clipped"}
    assert ("average with padding counted" in found) == ("Count" in kind)


def test_windows_that_all_see_the_last_row(runs_here: str) -> None:
    """The bottom needs no condition then, from which gcc -O3 would conclude that rows may be negative."""
    assert runs_here
    check(
        "Input ToTensor=x Channels=1 Height=1 Width=18",
        "Pooling FromTensor=x ToTensor=y Kind=Max WindowH=3 WindowW=1 StrideW=2 PaddingH=2",
        "Output FromTensor=y",
        optimisation="-O3",
    )


@pytest.mark.parametrize(
    ("fields", "planted"),
    [
        ("Kind=Avg", (r"(/\* column 4 \*/[^}]*\(rows \* )2", r"\g<1>3")),
        ("Kind=Avg CountPadding=1", (r"\(float\)\(3 \* 3\)", "(float)(3 * 2)")),
        ("Kind=Max PaddingTop=2 PaddingBottom=0", (r"y \* 2 - 2", "y * 2 - 0")),
        ("Kind=Max StrideW=1", (r"y \* 2 - 1", "y - 1")),
        ("Kind=Max StrideW=1", (r"\[x \+ 1\]", "[x]")),
        ("Kind=Avg", (r"end < 6 \? end : 6", "end < 5 ? end : 5")),
    ],
)
def test_planted_mistakes_of_poolings_are_found(fields: str, planted: tuple[str, str], emit: Emit) -> None:
    """A wrong divisor at the right edge or anywhere, paddings or strides exchanged, a row too few at the bottom."""
    stride = "StrideH=2" if "StrideW" in fields else "StrideH=2 StrideW=2"
    text = (
        "Config\nInput ToTensor=x Channels=19 Height=6 Width=9\n"
        f"Pooling FromTensor=x ToTensor=t WindowH=3 WindowW=3 {stride} PaddingH=1 PaddingW=1 {fields}\n"
        "Output FromTensor=t\n"
    )
    source, judge = emit(text, "exact:1", "gaussian:1")
    wrong, places = re.subn(*planted, source, count=1)
    assert places == 1
    assert not judge(wrong).verified


def test_the_text_of_a_pooling_does_not_grow_with_its_numbers() -> None:
    """Pictures and windows of any size are the same loops."""

    def lines(size: int, window: int, padding: int) -> int:
        source = compile_graph(
            f"Config\nInput ToTensor=x Channels=3 Height={size} Width={size}\n"
            f"Pooling FromTensor=x ToTensor=y Kind=Avg WindowH={window} WindowW={window} PaddingH={padding} "
            f"PaddingW={padding} StrideH=3\nOutput FromTensor=y\n"
        ).source
        step = re.search(r"^static NOINLINE void NN512_y\(.*?^}", source, re.MULTILINE | re.DOTALL)
        assert step is not None
        return step[0].count("\n")

    assert lines(40, 5, 2) == lines(9000, 5, 2)
    assert lines(40, 13, 6) == lines(9000, 13, 6) < 40
    assert lines(20_000, 9001, 4000) < 40
    assert lines(40, 3001, 3000) < 40


def test_rows_have_no_condition_where_every_window_sees_the_last_one() -> None:
    source = compile_graph(
        "Config\nInput ToTensor=x Channels=1 Height=1 Width=18\n"
        "Pooling FromTensor=x ToTensor=y Kind=Max3x3Stride2 PaddingH=2\nOutput FromTensor=y\n"
    ).source
    assert "const ptrdiff_t origin = y * 2 - 2;" in source
    assert "const ptrdiff_t rows = 1 - top;" in source


@pytest.mark.parametrize("kind", ["MaxGlobal", "AvgGlobal"])
def test_whole_pictures(kind: str, runs_here: str) -> None:
    """Fewer pixels than there are accumulators, as many, and more."""
    assert runs_here
    lines: list[str] = []
    for number, (height, width) in enumerate([(1, 1), (1, 3), (2, 2), (3, 5)]):
        lines.append(f"Input ToTensor=x{number} Channels=33 Height={height} Width={width}")
        lines.append(f"Pooling FromTensor=x{number} ToTensor=y{number} Kind={kind}")
        lines.append(f"Output FromTensor=y{number}")
    check(*lines)


@pytest.mark.parametrize(("outer", "inner"), [("Max3x3Stride2", "AvgGlobal"), ("Avg3x3Stride2", "MaxGlobal")])
def test_steps_before_and_after(outer: str, inner: str, runs_here: str) -> None:
    assert runs_here
    report = check(
        "Input ToTensor=x Channels=35 Height=9 Width=10",
        "BatchNorm FromTensor=x ToTensor=a",
        "Activation FromTensor=a ToTensor=b Kind=ReLU",
        f"Pooling FromTensor=b ToTensor=c Kind={outer} PaddingH=1 PaddingW=2",
        f"Pooling FromTensor=x ToTensor=d Kind={outer} PaddingH=1 PaddingW=2",
        "Add FromTensor1=c FromTensor2=d ToTensor=e",
        "Activation FromTensor=e ToTensor=f Kind=ReLU Param=0.5",
        f"Pooling FromTensor=f ToTensor=g Kind={inner}",
        "BatchNorm FromTensor=g ToTensor=h",
        "Output FromTensor=h",
        "Output FromTensor=e",
        optimisation="-O1",
    )
    assert [layer.kernel for layer in report.layers].count("pooling") == 3


def test_columns() -> None:
    assert columns_of(Along(112, 3, 2, 1, 1)) == (Column(0, 1, 2, 0), Column(1, 55, 3, 1))
    assert columns_of(Along(56, 2, 2)) == (Column(0, 28, 2, 0),)
    assert columns_of(Along(1, 3, 2, 2, 2)) == (Column(0, 1, 1, 0), Column(1, 1, 1, 0))
    assert columns_of(Along(2**31 - 1, 3, 2, 1, 1)) == (
        Column(0, 1, 2, 0),
        Column(1, 2**30 - 2, 3, 1),
        Column(2**30 - 1, 1, 2, 2**31 - 3),
    )


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_columns_see_what_is_inside(window: int, stride: int) -> None:
    """One by one: every output column, the cells it sees and no others; neighbours with whole windows are together."""
    for before, after, size in itertools.product(range(window), range(window), range(1, 12)):
        if size + before + after < window:
            continue
        along = Along(size, window, stride, before, after)
        seen: list[tuple[int, int | None]] = []
        columns = columns_of(along)
        for column in columns:
            assert column.first == len(seen)
            assert column.count == 1 or column.columns == window
            seen += [(column.cell + stride * x, column.columns) for x in range(column.count)]
        starts = [stride * x - before for x in range((size + before + after - window) // stride + 1)]
        cells = [[c for c in range(start, start + window) if 0 <= c < size] for start in starts]
        assert seen == [(inside[0], len(inside)) for inside in cells]
        assert sum(column.columns == window for column in columns) <= 1
        assert along.ends_outside == (starts[-1] + window > size)


@pytest.mark.parametrize("window", [WIDEST + 1, 15])
def test_columns_at_the_edges_of_wide_windows_are_together(window: int) -> None:
    for stride, before, after, size in itertools.product((1, 2, 7), (0, 1, 4, window - 1), (0, 2, window - 1), (1, 20)):
        if size + before + after < window:
            continue
        along = Along(size, window, stride, before, after)
        columns = columns_of(along)
        assert len(columns) <= 3
        assert sum(column.count for column in columns) == along.places
        x = 0
        for column in columns:
            assert column.first == x
            for x in range(column.first, column.first + column.count):
                start = stride * x - before
                if column.columns is None or column.count > 1:
                    assert column.cell + stride * (x - column.first) == start
                whole = start >= 0 and start + window <= size
                assert column.columns == window if whole else column.columns != window
            x += 1


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 16, 18])
def test_border(channels: int, runs_here: str) -> None:
    """Up to 4 channels are loaded in fours; pixel counts around a vector of 16."""
    assert runs_here
    lines: list[str] = []
    for number, (height, width) in enumerate([(1, 1), (3, 5), (4, 4), (3, 7)]):
        lines.append(f"Input ToTensor=x{number} Channels={channels} Height={height} Width={width}")
        lines.append(f"Activation FromTensor=x{number} ToTensor=y{number} Kind=ReLU Param=2")
        lines.append(f"Output FromTensor=y{number}")
    check(*lines, optimisation="-O0" if channels == 3 else "-O2")


def test_softmax_at_every_pixel(runs_here: str) -> None:
    assert runs_here
    report = check(
        "Input ToTensor=x Channels=21 Height=3 Width=3",
        "Input ToTensor=y Channels=16 Height=3 Width=3",
        "Softmax FromTensor=x ToTensor=px",
        "Softmax FromTensor=y ToTensor=py",
        "Concat FromTensor1=x FromTensor2=y ToTensor=c",
        "Softmax FromTensor=c ToTensor=pc",
        "Output FromTensor=px",
        "Output FromTensor=py",
        "Output FromTensor=pc",
        optimisation="-O1",
    )
    assert classes(report, "softmax") == {"channel tail 5", "channel tail 0", "table of segments, tail 5"}


def test_relayout(runs_here: str) -> None:
    """Blocks gathered from one, two and four blocks of the other layout."""
    assert runs_here
    report = check(
        "Input ToTensor=x Channels=5 Height=3 Width=3",
        *(f"Conv FromTensor=x ToTensor=c{n} ToChannels={n} FilterH=1 FilterW=1" for n in (1, 2, 6, 20, 44, 64)),
        "Activation FromTensor=c6 ToTensor=r6 Kind=ReLU",
        "Activation FromTensor=c64 ToTensor=r64 Kind=ReLU",
        "Concat FromTensor1=c1 FromTensor2=c2 ToTensor=c3",
        "Concat FromTensor1=c3 FromTensor2=c3 ToTensor=c33",
        "Concat FromTensor1=c20 FromTensor2=c44 ToTensor=c2044",
        "Add FromTensor1=r6 FromTensor2=c33 ToTensor=y",
        "Add FromTensor1=r64 FromTensor2=c2044 ToTensor=z",
        "Output FromTensor=y",
        "Output FromTensor=z",
        optimisation="-O1",
    )
    segments = {name for name in classes(report, "relayout") if name.startswith("segments")}
    assert segments == {"segments before several", "segments after one"}
    assert "crowded" not in classes(report, "relayout")


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_tensors_of_many_segments_are_copied_to_one(
    runs_here: str, consumer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever reads them then; the limit is low here, so that small nets come to it."""
    assert runs_here
    monkeypatch.setattr("nn512.plan.layout.MOST_SEGMENTS", 3)
    for text in (crowded(17, doubled(17, consumer, apart=5)), crowded(3, fibonacci(consumer))):
        report = check(*text.splitlines()[1:])
        assert "crowded" in classes(report, "relayout")


def test_planted_wrong_spans_are_found(emit: Emit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span of a channel too few, or one that comes from or goes to the lane before, whichever it is."""
    monkeypatch.setattr("nn512.plan.layout.MOST_SEGMENTS", 3)
    text = crowded(3, fibonacci(), 3)
    source, judge = emit(text, "exact:1")
    table = re.search(r"spans\[\]\[3\] = .*", source)
    assert table is not None
    numbers = [
        number for number in re.finditer(r"\d+", table[0]) if int(number[0]) and number.start() > len("spans[][3]")
    ]
    assert len(numbers) >= 6
    for number in numbers:
        at = table.start() + number.start()
        wrong = source[:at] + str(int(number[0]) - 1) + source[at + len(number[0]) :]
        assert not judge(wrong).verified, f"{number[0]} in {table[0]}"
