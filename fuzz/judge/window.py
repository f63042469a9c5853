"""What an output has around its worst element, beside what was expected, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_REACH = 2
"""Rows and columns that are shown on each side."""

_ALONG = 5
"""Channels that are shown on each side, where there is only one pixel."""


def window_around(
    worst: Sequence[int], got: NDArray[np.float32], value: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> tuple[str, ...]:
    """Lines that show what is around the element `worst`, all arrays CxHxW: its plane, or channels of a single pixel.

    A star stands behind what is wrong.
    """
    c, y, x = worst
    channels, height, width = value.shape
    if height == width == 1:
        shown = _span(c, channels, _ALONG)
        title = "channels"
        heads = [str(index) for index in shown]
        wanted, found, stars = value[shown, 0, 0], got[shown, 0, 0], wrong[shown, 0, 0]
        return tuple(_table([[title, *heads], ["expected", *_cells(wanted)], ["got", *_cells(found, stars)]]))
    rows_shown, columns = _span(y, height, _REACH), _span(x, width, _REACH)
    picked = np.ix_([c], rows_shown, columns)
    wanted, found, stars = value[picked][0], got[picked][0], wrong[picked][0]
    heads = [f"x={index}" for index in columns]
    lines = [["expected", *heads, "", "got", *heads]]
    for number, row in enumerate(rows_shown):
        lines.append([f"y={row}", *_cells(wanted[number]), "", f"y={row}", *_cells(found[number], stars[number])])
    return (f"channel {c}", *_table(lines))


def _span(index: int, size: int, reach: int) -> list[int]:
    """Up to so many places on each side of one."""
    first = max(0, min(index - reach, size - 2 * reach - 1))
    return list(range(first, min(size, first + 2 * reach + 1)))


def _cells(numbers: NDArray[np.floating], stars: NDArray[np.bool_] | None = None) -> list[str]:
    marks = [False] * len(numbers) if stars is None else stars.tolist()
    return [f"{number:.6g}{'*' if mark else ''}" for number, mark in zip(numbers.tolist(), marks, strict=True)]


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
