"""Sizes of tensors and choices that several kinds of layers share.

Sizes come from around the multiples of 16, the width of a vector: a plain `integers(1, 64)` almost never hits an edge.
Those in the middle of a vector are drawn now and then.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from nn512.graph import Shape

EDGE_SIZES = (1, 2, 3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 29, 30, 31, 32, 33, 34, 35, 47, 48, 49, 50, 51)
MIDDLE_SIZES = (6, 7, 8, 9, 10, 11, 12, 20, 21, 22, 23, 24, 25, 26, 27, 28)
LONG_SIZES = (63, 64, 65, 79, 80, 81, 95, 96, 97, 127, 128, 129)

SOURCES = st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5))
"""Which tensor a layer reads, by recency: 0 is the last one made, so that most layers continue a chain."""

OUTPUTS = st.sampled_from((False, False, False, False, True))
"""Whether a layer's result is an output of the net even if other layers read it."""

PARTNERS = st.integers(0, 7)
"""Which tensor a layer reads beside its source: one that fits, the source itself, or a new input."""

ITSELF = -2
"""The partner that is the source itself."""

ANOTHER = -1
"""The partner that is a new input."""


@cache
def sizes() -> st.SearchStrategy[int]:
    """One extent of a tensor, mostly at or next to an edge of the vector width."""
    usual = st.sampled_from((*EDGE_SIZES, *EDGE_SIZES, *MIDDLE_SIZES))
    return usual | st.sampled_from((*EDGE_SIZES[:12], *LONG_SIZES))


@cache
def shapes() -> st.SearchStrategy[Shape]:
    """Shape of an input; images are mostly small so that many channels fit."""
    small = st.sampled_from(EDGE_SIZES[:12])
    return st.builds(Shape, sizes(), small | sizes(), small | sizes())


def largest_edge(wanted: int, limit: int, multiple: int = 1) -> int:
    """`wanted` rounded up to `multiple`; where that passes `limit`, the largest edge size that does not; 0 if none."""
    rounded = -(-wanted // multiple) * multiple
    if rounded <= limit:
        return rounded
    rising = (-(-size // multiple) * multiple for size in reversed((*EDGE_SIZES, *LONG_SIZES)))
    return next((size for size in rising if size <= limit), 0)
