"""Placement of buffers: no two that live at the same time overlap, and little room is lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nn512.plan.arena import MANY, Buffer, place

BUFFERS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 6)).map(lambda t: (t[0], t[1], t[1] + t[2])),
    max_size=24,
).map(lambda rows: [Buffer(f"b{i}", *row) for i, row in enumerate(rows)])


@given(BUFFERS)
def test_buffers_alive_together_are_apart(buffers: list[Buffer]) -> None:
    arena = place(buffers)
    assert arena.offsets.keys() == {buffer.name for buffer in buffers}
    for a, b in itertools.combinations(buffers, 2):
        if a.first <= b.last and b.first <= a.last:
            start, other = arena.offsets[a.name], arena.offsets[b.name]
            assert start + a.size <= other or other + b.size <= start
    ends = [arena.offsets[b.name] + b.size for b in buffers]
    assert arena.size == max(ends, default=0)
    assert min(arena.offsets.values(), default=0) == 0


@given(BUFFERS)
def test_the_lower_bound_is_the_most_that_is_alive_at_once(buffers: list[Buffer]) -> None:
    arena = place(buffers)
    most = max((sum(b.size for b in buffers if b.first <= step <= b.last) for step in range(20)), default=0)
    assert arena.lower_bound == most
    assert arena.size >= most


@given(BUFFERS)
def test_the_order_of_the_buffers_does_not_matter(buffers: list[Buffer]) -> None:
    assert place(buffers).offsets == place(buffers[::-1]).offsets


def test_a_buffer_goes_into_the_smallest_gap_that_holds_it() -> None:
    walls = [Buffer("a", 100, 0, 9), Buffer("b", 90, 0, 4), Buffer("c", 80, 0, 9), Buffer("d", 30, 0, 4)]
    arena = place([*walls, Buffer("e", 29, 0, 9), Buffer("f", 25, 5, 9)])
    assert arena.offsets["f"] == arena.offsets["d"], "not where b was, which is larger"


def test_nothing_needs_nothing() -> None:
    assert place([]).size == place([]).lower_bound == 0


@given(BUFFERS)
def test_gaps_are_those_between_all_neighbours(buffers: list[Buffer]) -> None:
    """Offsets are what comes of looking at every buffer that is there already."""
    placed: list[tuple[int, Buffer]] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.name)):
        near = [(at, b) for at, b in placed if b.first <= buffer.last and buffer.first <= b.last]
        taken = {vector for at, b in near for vector in range(at, at + b.size)}
        end = max(taken, default=-1) + 1
        free = [vector for vector in range(end) if vector not in taken]
        gaps = [list(group) for _, group in itertools.groupby(free, lambda v, free=free: v - free.index(v))]  # type: ignore[misc]
        fitting = [(len(gap), gap[0]) for gap in gaps if len(gap) >= buffer.size]
        placed.append((min(fitting)[1] if fitting else end, buffer))
    assert place(buffers).offsets == {buffer.name: at for at, buffer in placed}


def test_of_many_buffers_those_that_die_first_come_first() -> None:
    buffers = [Buffer(f"b{i}", 3, 0, 5000 - i) for i in range(MANY + 1)]
    arena = place(buffers)
    assert [arena.offsets[b.name] for b in reversed(buffers)] == list(range(0, 3 * len(buffers), 3))
    assert arena.size == arena.lower_bound
