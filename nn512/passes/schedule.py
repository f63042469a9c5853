"""An order of operations that keeps few tensors alive.

Greedy: of the operations whose operands exist (the first of them: see WINDOW), the one that leaves the least memory in
use; among equals the order of the program stays. Results leave as soon as they can, inputs come in as late as they can.
The new order is kept only where its peak is lower than that of the old one.
"""

from __future__ import annotations

import bisect
import dataclasses
import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from nn512.ir import LoadOp, Op, Program, StoreOp
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.plan.layout import blocks_of

WINDOW = 64
"""Operations that are compared at a time, so that the time stays in proportion to their number."""

_Turn: TypeAlias = tuple[int, int]


class Ordering(Decision):
    """Which order is taken."""

    ANOTHER = "another order has a lower peak"
    SAME = "the other order has no lower peak"


def schedule(program: Program, decided: Decided = unheard) -> Program:
    """The program in an order with a lower peak of live tensors, if one was found."""
    memory = _Memory(program)
    order = _greedy(program, memory)
    if memory.peak(order) < memory.peak(range(len(program.ops))):
        decided(Ordering.ANOTHER)
        return dataclasses.replace(program, ops=tuple(program.ops[number] for number in order))
    decided(Ordering.SAME)
    return program


class _Memory:
    """What tensors take: parts of a joined whole are counted as the whole, from its first part to its last reader.

    Views are counted as what they are of.
    """

    def __init__(self, program: Program) -> None:
        root = {name: name for name in program.shapes}
        for joined in reversed(program.joined):  # a whole comes after its parts, so backwards from wholes to parts
            root.update(dict.fromkeys(joined.parts, root[joined.writes]))
        for view in program.views:
            root[view.writes] = root[view.sources[0]]
        self.size = {name: blocks_of(s.channels) * s.pixels for name, s in program.shapes.items()}
        self.writes = [{root[n] for n in op.tensors_written} for op in program.ops]
        self.touched = [
            {root[n] for n in op.tensors_read} | written for op, written in zip(program.ops, self.writes, strict=True)
        ]
        self.users: dict[str, list[int]] = defaultdict(list)
        for number, names in enumerate(self.touched):
            for name in names:
                self.users[name].append(number)

    def peak(self, order: Iterable[int]) -> int:
        """Most memory in use at any time, if operations run in this order."""
        running = _Running(self)
        highest = used = 0
        for number in order:
            growth = running.growth[number]
            highest = max(highest, used + running.run(number))
            used += growth
        return highest


class _Running:
    """Operations one after another: `growth` is the change of memory in use by running one that has not run yet.

    It is kept up to date: a tensor is allocated by the first operation that writes it, and freed by the last that
    touches it.
    """

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._alive: set[str] = set()
        self._left = {name: len(users) for name, users in memory.users.items()}
        self._rest = {name: sum(users) for name, users in memory.users.items()}  # numbers of those to come, added up
        self.growth = [sum(memory.size[name] for name in names) for names in memory.writes]
        for name, left in self._left.items():
            if left == 1:
                self.growth[self._rest[name]] -= memory.size[name]

    def run(self, number: int) -> int:
        """Account for an operation; gives the memory that it begins to use."""
        memory = self._memory
        born = memory.writes[number] - self._alive
        for name in born:
            for user in memory.users[name]:
                if name in memory.writes[user]:
                    self.growth[user] -= memory.size[name]
        self._alive |= born
        for name in memory.touched[number]:
            self._left[name] -= 1
            self._rest[name] -= number
            if self._left[name] == 1:
                self.growth[self._rest[name]] -= memory.size[name]
            elif not self._left[name]:
                self._alive.discard(name)
        return sum(memory.size[name] for name in born)


class _Ready:
    """Operations that could run, in order of their turns: the first of them, and the others."""

    def __init__(self) -> None:
        self.window: list[_Turn] = []
        self._others: list[_Turn] = []

    def add(self, turn: _Turn) -> None:
        """One more."""
        bisect.insort(self.window, turn)
        if len(self.window) > WINDOW:
            heapq.heappush(self._others, self.window.pop())

    def remove(self, turn: _Turn) -> None:
        """One of the first leaves; the next of the others comes up."""
        del self.window[bisect.bisect_left(self.window, turn)]
        if self._others:
            self.window.append(heapq.heappop(self._others))


def _greedy(program: Program, memory: _Memory) -> list[int]:
    waiting = _Waiting(program)
    running, ready, order = _Running(memory), _Ready(), list[int]()
    for number in waiting.first():
        ready.add((_turn(program.ops[number]), number))
    while ready.window:
        turn, _, number = min((turn, running.growth[n], n) for turn, n in ready.window)
        ready.remove((turn, number))
        running.run(number)
        order.append(number)
        for other in waiting.after(number):
            ready.add((_turn(program.ops[other]), other))
    return order


class _Waiting:
    """What each operation waits for: who writes what it reads. A whole waits for its parts, a view for its source.

    Operations go by their numbers, joined wholes and views by their names.
    """

    def __init__(self, program: Program) -> None:
        writer = {name: number for number, op in enumerate(program.ops) for name in op.tensors_written}
        others = {joined.writes: joined.parts for joined in program.joined}
        others |= {view.writes: view.sources for view in program.views}
        self._followers: dict[int | str, list[int | str]] = defaultdict(list)
        self._left: dict[int | str, int] = {}
        reads: Iterator[tuple[int | str, Iterable[str]]] = itertools.chain(
            ((number, op.tensors_read) for number, op in enumerate(program.ops)), others.items()
        )
        for who, names in reads:
            before: set[int | str] = {writer.get(name, name) for name in names if name in writer or name in others}
            self._left[who] = len(before)
            for other in before:
                self._followers[other].append(who)

    def first(self) -> list[int]:
        """Operations that wait for nothing."""
        return [who for who, left in self._left.items() if not left and isinstance(who, int)]

    def after(self, number: int) -> Iterator[int]:
        """Operations that need wait no longer once this one has run."""
        done: list[int | str] = [number]
        while done:
            for who in self._followers.get(done.pop(), ()):
                self._left[who] -= 1
                if self._left[who]:
                    continue
                if isinstance(who, int):
                    yield who
                else:
                    done.append(who)


def _turn(op: Op) -> int:
    """Results leave first, inputs come in last."""
    return 0 if isinstance(op, StoreOp) else 2 if isinstance(op, LoadOp) else 1


PASS = Pass("schedule", schedule, "fewer tensors are alive at once", Ordering)
