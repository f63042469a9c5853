"""Views show the numbers that numpy's own reshape and transpose show."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import Shape
from nn512.onnx import view

SHAPES = st.builds(Shape, *[st.sampled_from((1, 2, 3, 4, 6))] * 3)


def splittings(total: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of so many elements."""
    divisors = [n for n in range(1, total + 1) if total % n == 0]
    one = st.sampled_from(divisors)
    return st.lists(one, min_size=0, max_size=3).map(
        lambda sizes: (*sizes, total // prod(sizes)) if total % prod(sizes) == 0 else (total,)
    )


@given(st.data())
def test_any_moves(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    array = np.arange(shape.elements).reshape(shape)
    dims = view.usual(shape, 4)
    assert dims is not None
    seen = array[None]
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            order = data.draw(st.permutations(range(seen.ndim)))
            dims, seen = tuple(dims[i] for i in order), seen.transpose(order)
        else:
            sizes = data.draw(splittings(shape.elements))
            moved = view.reshaped(dims, sizes)
            if moved is None:
                continue
            dims, seen = moved, seen.reshape(sizes)
        assert view.sizes(dims) == seen.shape
        np.testing.assert_array_equal(view.elements(dims, array), seen)


@given(SHAPES, st.permutations(range(3)))
def test_a_flattened_order_and_back(shape: Shape, order: list[int]) -> None:
    axes = [view.whole(axis, size) for axis, size in zip(view.AXES, shape, strict=True)]
    row = view.merged([factor for i in order for factor in axes[i]])
    assert view.covers(row, shape)
    flat = np.arange(shape.elements).reshape(shape).transpose(order).reshape(-1)
    np.testing.assert_array_equal(flat[view.order_of(row, shape)], np.arange(shape.elements))


def test_what_is_no_view() -> None:
    dims = view.usual(Shape(6, 5, 1), 4)
    assert dims is not None
    assert view.reshaped(dims, (10, 3)) is None  # 5 rows do not split into 10 x 3
    assert view.reshaped(dims, (3, 10)) is not None
    assert view.reshaped(dims, (3, 9)) is None
    assert view.usual(Shape(2, 3, 4), 3) is None
    assert view.usual(Shape(2, 3, 4), 5) is None


def test_part_of_a_tensor_does_not_cover_it() -> None:
    shape = Shape(2, 3, 1)
    assert not view.covers(view.whole("C", 2), shape)
    twice = (*view.whole("H", 3), *view.whole("H", 3))
    assert not view.covers(twice, Shape(1, 9, 1))


@pytest.mark.parametrize(("groups", "expected"), [(1, False), (2, True), (4, False)])
def test_shuffled_channels_are_scrambled(groups: int, expected: bool) -> None:  # noqa: FBT001
    dims = view.reshaped(view.usual(Shape(4, 3, 3), 4) or (), (1, groups, 4 // groups, 3, 3))
    assert dims is not None
    shuffled = view.reshaped(tuple(dims[i] for i in (0, 2, 1, 3, 4)), (1, 4, 3, 3))
    assert shuffled is not None
    assert view.scrambled(shuffled) == expected
