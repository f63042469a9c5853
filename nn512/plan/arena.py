"""Where tensors live: offsets in one block of memory, so that tensors alive at the same time do not overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory with a lifetime: `size` in vectors of 64 bytes, alive from step `first` to step `last`, both included."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets of all buffers and the size of the whole, in vectors of 64 bytes."""

    buffers: tuple[Buffer, ...]
    offsets: dict[str, int]
    size: int
    lower_bound: int


def place(buffers: Sequence[Buffer]) -> Arena:
    """Best fit, largest buffer first: each goes into the smallest gap between those that live at the same time.

    `lower_bound` is the largest sum of buffers alive at one step: no placement can be smaller.
    """
    placed: list[tuple[int, Buffer]] = []
    offsets: dict[str, int] = {}
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.name)):
        offset = _best_gap(buffer, placed)
        placed.append((offset, buffer))
        offsets[buffer.name] = offset
    changes: Counter[int] = Counter()
    for buffer in buffers:
        changes[buffer.first] += buffer.size
        changes[buffer.last + 1] -= buffer.size
    lower_bound = max(accumulate(changes[step] for step in sorted(changes)), default=0)
    size = max((offset + b.size for offset, b in placed), default=0)
    return Arena(tuple(buffers), offsets, size, lower_bound)


def _best_gap(buffer: Buffer, placed: Sequence[tuple[int, Buffer]]) -> int:
    neighbours = sorted(
        (offset, offset + other.size)
        for offset, other in placed
        if other.first <= buffer.last and buffer.first <= other.last
    )
    best: tuple[int, int] | None = None
    end = 0
    for start, stop in neighbours:
        gap = start - end
        if gap >= buffer.size and (best is None or gap < best[0]):
            best = (gap, end)
        end = max(end, stop)
    return end if best is None else best[1]
