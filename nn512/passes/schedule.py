"""An order of operations that keeps few tensors alive.

Greedy: of the operations whose operands exist (the first of them: see WINDOW), the one that leaves the least memory in
use; among equals the order of the program stays. Results leave as soon as they can, inputs come in as late as they can.
The new order is kept only where its peak is lower than that of the old one.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

from nn512.ir import LoadOp, Op, Program, StoreOp
from nn512.passes.rewrite import Pass
from nn512.plan.layout import blocks_of

WINDOW = 64
"""Operations that are compared at a time, so that the time stays in proportion to their number."""


def schedule(program: Program) -> Program:
    """The program in an order with a lower peak of live tensors, if one was found."""
    memory = _Memory(program)
    order = _greedy(program, memory)
    if memory.peak(order) < memory.peak(program.ops):
        return dataclasses.replace(program, ops=tuple(order))
    return program


class _Memory:
    """What tensors take: parts of a joined whole are counted as the whole, from its first part to its last reader."""

    def __init__(self, program: Program) -> None:
        self.root = {name: name for name in program.shapes}
        for joined in reversed(program.joined):  # a whole comes after its parts, so backwards from wholes to parts
            self.root.update(dict.fromkeys(joined.parts, self.root[joined.writes]))
        self.parts = {j.writes: j.parts for j in program.joined}
        self._size = {name: blocks_of(s.channels) * s.pixels for name, s in program.shapes.items()}
        self._reads = {id(op): {self.root[n] for n in op.tensors_read} for op in program.ops}
        self._writes = {id(op): {self.root[n] for n in op.tensors_written} for op in program.ops}
        self.users: dict[str, int] = {}
        for op in program.ops:
            for name in self._touched(op):
                self.users[name] = self.users.get(name, 0) + 1

    def _touched(self, op: Op) -> set[str]:
        return self._reads[id(op)] | self._writes[id(op)]

    def growth(self, op: Op, alive: set[str], left: dict[str, int]) -> int:
        """Change of memory in use by running an operation and freeing what nobody touches after it."""
        born = sum(self._size[n] for n in self._writes[id(op)] - alive)
        freed = sum(self._size[n] for n in self._touched(op) if left[n] == 1)
        return born - freed

    def run(self, op: Op, alive: set[str], left: dict[str, int]) -> int:
        """Account for an operation; gives the memory that it begins to use."""
        born = sum(self._size[n] for n in self._writes[id(op)] - alive)
        alive |= self._writes[id(op)]
        for name in self._touched(op):
            left[name] -= 1
            if left[name] == 0:
                alive.discard(name)
        return born

    def peak(self, ops: Sequence[Op]) -> int:
        """Most memory in use at any time."""
        alive: set[str] = set()
        left = dict(self.users)
        highest = used = 0
        for op in ops:
            growth = self.growth(op, alive, left)
            highest = max(highest, used + self.run(op, alive, left))
            used += growth
        return highest


def _greedy(program: Program, memory: _Memory) -> list[Op]:
    writer = {name: n for n, op in enumerate(program.ops) for name in op.tensors_written}

    def needed(name: str) -> set[int]:
        found: set[int] = set()
        names = [name]
        while names:
            current = names.pop()
            if current in writer:
                found.add(writer[current])
            names.extend(memory.parts.get(current, ()))
        return found

    waits = [set().union(*(needed(name) for name in op.tensors_read)) for op in program.ops]
    followers: dict[int, list[int]] = {}
    for number, before in enumerate(waits):
        for other in before:
            followers.setdefault(other, []).append(number)
    ready = sorted((_turn(program.ops[number]), number) for number, before in enumerate(waits) if not before)
    alive: set[str] = set()
    left = dict(memory.users)
    order: list[Op] = []
    while ready:
        turn, _, number = min((turn, memory.growth(program.ops[n], alive, left), n) for turn, n in ready[:WINDOW])
        del ready[bisect.bisect_left(ready, (turn, number))]
        op = program.ops[number]
        memory.run(op, alive, left)
        order.append(op)
        for other in followers.get(number, ()):
            waits[other].discard(number)
            if not waits[other]:
                bisect.insort(ready, (_turn(program.ops[other]), other))
    return order


def _turn(op: Op) -> int:
    """Results leave first, inputs come in last."""
    return 0 if isinstance(op, StoreOp) else 2 if isinstance(op, LoadOp) else 1


PASS = Pass("schedule", schedule, "fewer tensors are alive at once")
