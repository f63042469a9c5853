"""Strategies that are drawn as often as asked: Hypothesis takes equal ones for one, and a union for its members."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


def weighted(*parts: tuple[int, st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    """One of several strategies, each as often as its number says. The first one is what failures shrink to."""
    turns = [number for number, (weight, _) in enumerate(parts) for _ in range(weight)]
    return st.sampled_from(turns).flatmap(lambda number: parts[number][1])
