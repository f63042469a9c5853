"""Where tensors live: offsets in one block of memory, so that tensors alive at the same time do not overlap."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

MANY = 1000
"""Buffers above which those of one size that are born together lie in the order in which they die.

Then what is left of them at any step is in one piece, and a place is found fast.
"""


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
    occupied = _Occupied(max((buffer.last for buffer in buffers), default=0) + 1)
    offsets: dict[str, int] = {}
    many = len(buffers) > MANY
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.last if many else 0, b.name)):
        offset = _best_gap(buffer.size, occupied.while_alive(buffer))
        occupied.add(offset, buffer)
        offsets[buffer.name] = offset
    changes: Counter[int] = Counter()
    for buffer in buffers:
        changes[buffer.first] += buffer.size
        changes[buffer.last + 1] -= buffer.size
    lower_bound = max(accumulate(changes[step] for step in sorted(changes)), default=0)
    size = max((offsets[b.name] + b.size for b in buffers), default=0)
    return Arena(tuple(buffers), offsets, size, lower_bound)


def _best_gap(size: int, neighbours: Iterable[tuple[int, int]]) -> int:
    """The start of the smallest gap of at least `size` between neighbours, each from a start to a stop."""
    best: tuple[int, int] | None = None
    end = 0
    for start, stop in sorted(neighbours):
        gap = start - end
        if gap >= size and (best is None or gap < best[0]):
            best = (gap, end)
        end = max(end, stop)
    return end if best is None else best[1]


class _Occupied:
    """What memory is taken at which steps, as a tree of halves of all steps.

    A lifetime is made up of a few nodes of the tree. Each node knows the memory of the lifetimes that have it as one of
    those, and of all that have it or a node below it: as ranges, so that a thousand neighbours are one.
    """

    def __init__(self, steps: int) -> None:
        self._leaves = 1 << (steps - 1).bit_length()
        self._whole: dict[int, _Ranges] = defaultdict(_Ranges)
        self._any: dict[int, _Ranges] = defaultdict(_Ranges)

    def add(self, offset: int, buffer: Buffer) -> None:
        """Note where a buffer is."""
        above: set[int] = set()
        for node in self._nodes(buffer):
            self._whole[node].add(offset, offset + buffer.size)
            above.update(_and_above(node))
        for node in above:
            self._any[node].add(offset, offset + buffer.size)

    def while_alive(self, buffer: Buffer) -> Iterator[tuple[int, int]]:
        """The ranges taken at any step of a buffer's life."""
        above: set[int] = set()
        for node in self._nodes(buffer):
            if node in self._any:
                yield from self._any[node].pairs()
            above.update(_and_above(node))
        for node in above:
            if node in self._whole:
                yield from self._whole[node].pairs()

    def _nodes(self, buffer: Buffer) -> Iterator[int]:
        """The nodes that make up a lifetime; 1 is the root, and those below node n are 2 n and 2 n + 1."""
        low, high = buffer.first + self._leaves, buffer.last + self._leaves + 1
        while low < high:
            if low & 1:
                yield low
                low += 1
            if high & 1:
                high -= 1
                yield high
            low, high = low // 2, high // 2


def _and_above(node: int) -> Iterator[int]:
    """A node of the tree, and those up to the root."""
    while node:
        yield node
        node //= 2


class _Ranges:
    """A set of numbers as ranges that neither overlap nor touch, in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Add the numbers from `start` to `stop` - 1."""
        low = bisect.bisect_left(self._stops, start)
        high = bisect.bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high], self._stops[low:high] = [start], [stop]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Start and stop of each."""
        return zip(self._starts, self._stops, strict=True)
