"""Pooling of any window, stride and padding, and the six old kinds as spellings of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import POOLINGS, GraphError, Pooling, Shape, build, format_node, parse
from nn512.graph.nodes import Config, Input, Output

HEAD = "Config\nInput ToTensor=x Channels=4 Height=8 Width=6\nPooling FromTensor=x ToTensor=y "
TAIL = "\nOutput FromTensor=y\n"


def pooling(fields: str) -> Pooling:
    (layer,) = parse(HEAD + fields + TAIL).layers
    assert isinstance(layer, Pooling)
    return layer


SHAPES_AND_WORDS = """
Kind=Max WindowH=8 WindowW=6: 4x1x1, Max 8x6
Kind=Max WindowH=3 WindowW=2 StrideH=2: 4x3x5, Max 3x2, stride 2x1
Kind=Avg WindowH=3 WindowW=3 PaddingH=1 PaddingW=1 CountPadding=1: 4x8x6, Avg 3x3, padding 1, padding counted
Kind=Avg WindowH=9 WindowW=1 PaddingTop=1: 4x1x6, Avg 9x1, padding 1 above, 0 below, 0 left, 0 right
Kind=Max WindowH=3 WindowW=3 StrideH=2 StrideW=2 PaddingRight=1: 4x3x3, Max 3x3, stride 2, padding 0 above, 0 below, \
0 left, 1 right
Kind=Max WindowH=1 WindowW=1 StrideH=65536 StrideW=3: 4x1x2, Max 1x1, stride 65536x3
Kind=Max3x3Stride2 PaddingH=2 PaddingTop=0: 4x4x2, Max3x3Stride2, padding 0 above, 2 below, 0 left, 0 right
Kind=Max3x3Stride2 PaddingTop=1 PaddingBottom=1: 4x4x2, Max3x3Stride2, padding 1x0
Kind=AvgGlobal: 4x1x1, AvgGlobal
"""


@pytest.mark.parametrize("line", SHAPES_AND_WORDS.strip().splitlines())
def test_shapes_and_words(line: str) -> None:
    fields, _, expected = line.partition(": ")
    shape, _, words = expected.partition(", ")
    graph = parse(HEAD + fields + TAIL)
    assert str(graph.shapes["y"]) == shape
    assert graph.layers[0].describe() == f"Pooling y ({words})"


@pytest.mark.parametrize(
    ("kind", "window", "stride"),
    [("Max2x2Stride2", 2, 2), ("Avg2x2Stride2", 2, 2), ("Max3x3Stride2", 3, 2), ("Avg3x3Stride2", 3, 2)],
)
def test_old_kinds_are_spellings(kind: str, window: int, stride: int) -> None:
    old = pooling(f"Kind={kind} PaddingH=1")
    numbers = f"WindowH={window} WindowW={window} StrideH={stride} StrideW={stride}"
    new = pooling(f"Kind={kind[:3]} {numbers} PaddingTop=1 PaddingBottom=1")
    assert (old.window_h, old.window_w, old.stride_h, old.stride_w) == (window, window, stride, stride)
    assert (old.padding_top, old.padding_bottom, old.padding_left, old.padding_right) == (1, 1, 0, 0)
    assert (old.count_padding, old.is_global, old.is_max) == (0, False, kind.startswith("Max"))
    assert old.window_of(Shape(4, 8, 6)) == (window, window)
    assert old != new
    assert old.key == new.key
    assert format_node(old) == f"Pooling FromTensor=x ToTensor=y Kind={kind} PaddingH=1 PaddingW=0"
    assert hash(old.key) == hash(new.key)


@pytest.mark.parametrize("kind", POOLINGS)
def test_old_kinds_in_python(kind: str) -> None:
    node = Pooling("a", "b", kind) if "Global" in kind else Pooling("a", "b", kind, 1, 0)
    assert (node.padding_top, node.padding_left) == (0, 0) if node.is_global else (1, 0)
    assert node.renamed({"a": "c"}) == Pooling("c", "b", kind, node.padding_h, node.padding_w)
    assert Pooling("x", "y", kind).key == Pooling("a", "b", kind).key
    assert len({Pooling("a", "b", other).key for other in POOLINGS}) == len(POOLINGS)


def test_the_window_of_global_kinds_is_the_tensor() -> None:
    node = pooling("Kind=MaxGlobal")
    assert (node.window_h, node.window_w, node.stride_h, node.stride_w) == (0, 0, 1, 1)
    assert node.window_of(Shape(4, 8, 6)) == (8, 6)


def check(fields: str, *expected: tuple[str, str]) -> None:
    with pytest.raises(GraphError) as caught:
        parse(HEAD + fields + TAIL)
    text = caught.value.diagnostics[0].source.text
    found = [(text[d.span.start : d.span.end], d.message) for d in caught.value.diagnostics]
    assert found == list(expected)


def test_mistakes() -> None:
    check("Kind=Max", ("Pooling", "Pooling Kind=Max lacks the fields WindowH, WindowW"))
    check(
        "Kind=Max2x2Stride2 WindowH=2",
        ("WindowH", "WindowH goes with Kind=Max or Kind=Avg, not with Kind=Max2x2Stride2"),
    )
    check(
        "Kind=Max WindowH=2 WindowW=2 CountPadding=1",
        (
            "CountPadding",
            "CountPadding goes with Kind=Avg or Kind=Avg2x2Stride2 or Kind=Avg3x3Stride2, not with Kind=Max",
        ),
    )
    check(
        "Kind=Avg WindowH=2 WindowW=2 CountPadding=2",
        ("2", "CountPadding is '2', too large; it must be at most 1"),
    )
    large = "padding too large: {} must be smaller than the window, which is 3x2"
    check("Kind=Max WindowH=3 WindowW=2 PaddingH=3", ("3", large.format(3)))
    check(
        "Kind=Max WindowH=3 WindowW=2 PaddingH=1 PaddingBottom=3 PaddingLeft=2 PaddingRight=4",
        ("3", large.format(3)),
        ("2", large.format(2)),
        ("4", large.format(4)),
    )
    check("Kind=MaxGlobal PaddingW=1", ("1", "MaxGlobal takes no padding"))
    check("Kind=MaxGlobal PaddingW=2 PaddingLeft=1 PaddingRight=0", ("1", "MaxGlobal takes no padding"))
    spans = "the window spans {} {}, more than the {} of 'x' (4x8x6)"
    check(
        "Kind=Avg WindowH=11 WindowW=9 PaddingH=1 PaddingRight=2",
        ("11", spans.format(11, "rows", 10) + " with padding 1 on both sides"),
        ("9", spans.format(9, "columns", 8) + " with padding 0 left and 2 right"),
    )
    check("Kind=Avg WindowH=1 WindowW=65536 StrideW=65536", ("65536", spans.format(65536, "columns", 6)))
    check("Kind=Max WindowH=65537 WindowW=1", ("65537", "WindowH is '65537', too large; it must be at most 65536"))


SIDES = st.integers(0, 2)


@given(st.sampled_from(["Max", "Avg"]), *[st.integers(3, 5)] * 2, *[st.integers(1, 4)] * 2, *[SIDES] * 6)
def test_printed_and_read_again(
    kind: str,
    window_h: int,
    window_w: int,
    stride_h: int,
    stride_w: int,
    padding_h: int,
    padding_w: int,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> None:
    node = Pooling(
        "x",
        "y",
        kind,
        padding_h=padding_h,
        padding_w=padding_w,
        window_h=window_h,
        window_w=window_w,
        stride_h=stride_h,
        stride_w=stride_w,
        padding_top=top,
        padding_bottom=bottom,
        padding_left=left,
        padding_right=right,
    )
    graph = build([Config(), Input("x", 3, 9, 7), node, Output("y")])
    assert graph.layers == (node,)
    printed = format_node(node)
    assert ("PaddingTop" in printed) == (top != padding_h)
    assert "CountPadding" not in printed
    rows = range(-top, 9 + bottom - window_h + 1, stride_h)
    columns = range(-left, 7 + right - window_w + 1, stride_w)
    assert graph.shapes["y"] == (3, len(rows), len(columns))
    for size, window, starts in ((9, window_h, rows), (7, window_w, columns)):
        assert all(start < size and start + window > 0 for start in starts), "every window has a real cell"
