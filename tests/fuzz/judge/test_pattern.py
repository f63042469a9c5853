"""Patterns: what is planted is what is said, whatever the shape, and few words are made of many wrong elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz.judge.pattern import Grid, pattern_of
from fuzz.judge.window import window_around

Mask = NDArray[np.bool_]

SHAPE = (37, 9, 11)


def mask(shape: tuple[int, ...] = SHAPE) -> Mask:
    return np.zeros(shape, np.bool_)


def place(axis: int, size: int) -> NDArray[np.intp]:
    return np.arange(size).reshape([-1 if a == axis else 1 for a in range(3)])


@given(st.tuples(st.integers(3, 40), st.integers(3, 20), st.integers(3, 20)), st.data())
def test_one_channel_row_or_column(shape: tuple[int, int, int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, 2))
    index = data.draw(st.integers(0, shape[axis] - 1))
    wrong = mask(shape) | (place(axis, shape[axis]) == index)
    pattern = pattern_of(wrong)
    assert pattern is not None
    assert pattern.inside == pattern.there == pattern.wrong == wrong.sum()
    word = ("channel", "row", "column")[axis]
    where = "first" if index == 0 else "last" if index == shape[axis] - 1 else "one"
    name = ("channel", "y", "x")[axis]
    if axis == 0 and index % 16 == 0 and index == shape[0] - 1:  # a block of its own
        assert pattern.key in {"last channel", "last block"}
    else:
        assert pattern.key == f"{where} {word}"
        assert f"{name} = {index}" in str(pattern)


@given(st.lists(st.tuples(st.integers(0, 36), st.integers(0, 8), st.integers(0, 10)), max_size=9), st.integers(0, 10))
def test_a_few_others_do_not_hide_a_column(others: list[tuple[int, int, int]], column: int) -> None:
    """447 of 448."""
    wrong = mask()
    wrong[:, :, column] = True
    for one in others:
        wrong[one] = True
    pattern = pattern_of(wrong)
    assert pattern is not None
    assert pattern.key in {"first column", "last column", "one column"}
    assert (pattern.inside, pattern.there, pattern.wrong) == (37 * 9, 37 * 9, wrong.sum())
    assert f"{37 * 9} {'of' if wrong.sum() > 37 * 9 else 'wrong elements'}" in str(pattern)


@given(st.data())
def test_boxes_are_found_along_every_axis(data: st.DataObject) -> None:
    """A product of runs that leaves out half and more along each axis."""
    wrong = ~mask()
    for axis, size in enumerate(SHAPE):
        first = data.draw(st.integers(0, size - 1))
        last = data.draw(st.integers(first, min(size - 1, first + size // 2 - 1)))
        places = place(axis, size)
        wrong &= (places >= first) & (places <= last)
    pattern = pattern_of(wrong)
    assert pattern is not None
    assert pattern.inside == pattern.wrong
    assert pattern.inside >= pattern.there * 0.7  # a block stands for most of its channels


@pytest.mark.parametrize(
    ("index", "grid", "key", "words"),
    [
        ((slice(3, None, 16),), Grid(), "one lane of the block of 16", "lane of the block of 16 = 3"),
        ((slice(16, 32),), Grid(), "one block", "block = 1"),
        ((slice(32, None),), Grid(), "last block", "the last block"),
        ((slice(None), slice(2, None, 4)), Grid(tile=(4, 4)), "one row of the tile", "row of the tile = 2"),
        ((slice(None), slice(None), slice(4, 8)), Grid(tile=(4, 4)), "one tile column", "tile column = 1"),
        ((slice(None), slice(7, None)), Grid(), "last rows", "y = 7 to 8 (the last ones)"),
    ],
)
def test_places_of_kernels(index: tuple[slice, ...], grid: Grid, key: str, words: str) -> None:
    wrong = mask()
    wrong[index] = True
    pattern = pattern_of(wrong, grid=grid)
    assert pattern is not None
    assert words in str(pattern)
    assert pattern.key == key
    assert pattern.inside == pattern.wrong


def test_the_last_pixels() -> None:
    """They begin in the middle of a row: neither rows nor columns say it."""
    wrong = mask()
    wrong.reshape(37, -1)[:, 83:] = True
    assert "pixel (counted row by row) = 83 to 98 (the last ones), in every channel" in str(pattern_of(wrong))


def test_groups() -> None:
    wrong = mask((12, 5, 5))
    wrong[4:8] = True
    assert pattern_of(wrong, grid=Grid(groups=3)).key == "one group"  # type: ignore[union-attr]
    wrong[:] = False
    wrong[1::4] = True
    assert pattern_of(wrong, grid=Grid(groups=3)).key == "one channel of the group"  # type: ignore[union-attr]
    assert "channel of the group = 1" in str(pattern_of(wrong, grid=Grid(groups=3)))


def test_shares_of_threads() -> None:
    """Rows of three blocks, on four threads: 27 rows as 7, 7, 7 and 6."""
    wrong = mask()
    for row in range(14, 21):
        wrong[row // 9 * 16 : row // 9 * 16 + 16, row % 9] = True
    pattern = pattern_of(wrong, grid=Grid(threads=4))
    assert "thread = 2" in str(pattern)
    assert pattern_of(wrong).key != pattern.key  # type: ignore[union-attr]


def test_the_border() -> None:
    wrong = ~mask()
    wrong[:, 1:-1, 1:-1] = False
    assert "a place at the border" in str(pattern_of(wrong))
    assert "a place inside" in str(pattern_of(~wrong))


@given(st.floats(0.1, 0.6), st.integers(0, 1000))
def test_noise_has_no_pattern(share: float, seed: int) -> None:
    wrong = np.random.default_rng(seed).random(SHAPE) < share
    pattern = pattern_of(wrong)
    assert pattern is not None
    assert pattern.key == "anywhere"
    assert f"{wrong.sum()} of {wrong.size} elements are wrong, in every channel and row and column" == str(pattern)


def test_everything_and_nothing() -> None:
    assert pattern_of(mask()) is None
    assert str(pattern_of(~mask())) == f"all {37 * 9 * 11} elements are wrong"
    assert str(pattern_of(~mask((1, 1, 1)))) == "the element is wrong"


@given(st.integers(0, 1000))
def test_what_was_not_compared_does_not_count(seed: int) -> None:
    """Only elements of one column could be compared: that all wrong ones are there says nothing."""
    rng = np.random.default_rng(seed)
    compared = mask()
    compared[:, :, 4] = True
    wrong = compared & (rng.random(SHAPE) < 0.5)
    pattern = pattern_of(wrong, compared)
    assume(pattern is not None)
    assert pattern is not None
    assert "x = " not in str(pattern)
    assert pattern.compared == 37 * 9


@pytest.mark.parametrize("worst", [(0, 0, 0), (36, 8, 10), (5, 4, 6)])
def test_windows_are_cut_at_edges(worst: tuple[int, int, int]) -> None:
    value = np.arange(37 * 9 * 11, dtype=np.float64).reshape(SHAPE)
    got, wrong = value.astype(np.float32), mask()
    got[worst], wrong[worst] = -1, True
    title, heads, *lines = window_around(worst, got, value, wrong)
    assert title == f"channel {worst[0]}"
    assert heads.split().count(f"x={worst[2]}") == 2
    assert len(lines) == 5
    assert sum(line.count("*") for line in lines) == 1
    (line,) = (line for line in lines if "*" in line)
    assert "-1*" in line.split()
    assert f"{value[worst]:.6g}" in line.split()
    assert line.split().count(f"y={worst[1]}") == 2


def test_windows_of_one_pixel_go_along_channels() -> None:
    value = np.arange(40.0).reshape(40, 1, 1)
    got, wrong = value.astype(np.float32), mask((40, 1, 1))
    got[39], wrong[39] = 7, True
    heads, wanted, found = (line.split() for line in window_around((39, 0, 0), got, value, wrong))
    assert heads == ["channels", *map(str, range(29, 40))]
    assert wanted[1:] == heads[1:]
    assert found == ["got", *wanted[1:-1], "7*"]
