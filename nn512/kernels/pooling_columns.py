"""The columns of a pooling's result by what their windows see: the whole window, or a part of it at an edge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nn512.ir.ops.pool import Along

WIDEST = 8
"""Most columns of a window that have unrolled code of their own."""


@dataclass(frozen=True, slots=True)
class Column:
    """`count` output columns from `first` on that see `columns` cells of a row; the first begins at `cell`.

    Where `columns` is None the windows hang over the picture by one cell more or less than their neighbours do.
    """

    first: int
    count: int
    columns: int | None
    cell: int


def columns_of(along: Along) -> tuple[Column, ...]:
    """The output columns of a row, neighbours together that see whole windows; so are those at an edge of wide ones."""
    stride, before = along.stride, along.before

    def alone(x: int) -> Column:
        first = x * stride - before
        start, end = max(0, first), min(along.size, first + along.window)
        return Column(x, 1, end - start, start)

    def edge(first: int, last: int) -> Iterable[Column]:
        if along.window > WIDEST and last - first > 1:
            return [Column(first, last - first, None, stride * first - before)]
        return map(alone, range(first, last))

    low = min(along.places, -(-before // stride))
    high = max(low, min(along.places, (along.size - along.window + before) // stride + 1))
    whole = [Column(low, high - low, along.window, stride * low - before)] if low < high else []
    return (*edge(0, low), *whole, *edge(high, along.places))
