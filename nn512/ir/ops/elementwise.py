"""Chains of element-wise steps as operations of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.record import READS, WRITES, CoveredAs, chain
from nn512.ir.steps import BinaryStep, Chain


@dataclass(frozen=True, slots=True)
class ElementwiseOp(Op):
    """A chain of one or more element-wise steps on every element of a tensor."""

    source: str = field(metadata=READS)
    chain: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS, first=CoveredAs.ITSELF))
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    @property
    def key(self) -> Hashable | None:
        """As for any operation, but a sum of two tensors is the same from either side, as all such functions are."""
        first, second = self, self.swapped()
        keys = [super(ElementwiseOp, op).key for op in (first, second) if op is not None]
        return None if keys[0] is None else frozenset(keys)

    def swapped(self) -> ElementwiseOp | None:
        """The same operation read from the other operand of its first step; None where that has none."""
        if not self.chain:
            return None
        first, *others = self.chain
        other = first.swapped(self.source)
        if other is None:
            return None
        return dataclasses.replace(self, source=first.operands[0], chain=(other, *others))

    def without_self_operand(self) -> ElementwiseOp:
        """X + x written as a doubling of x, and so on, where an operand turned out to be the source itself."""
        first, *others = self.chain
        if isinstance(first, BinaryStep) and first.operand == self.source:
            return dataclasses.replace(self, chain=(BinaryStep(first.node), *others))
        return self

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The steps, one after another."""
        yield self.writes, arrows(self.source, *words_of(self.chain))

    def rebuild(self, graph: Rebuilder) -> None:
        """The nodes of the steps."""
        graph.define(self.writes, graph.chain(graph.lookup(self.source), self.chain, graph.shape(self.writes)))
