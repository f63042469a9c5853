"""Pooling, and sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from nn512.graph.describe import describe
from nn512.graph.nodes import Pooling
from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.record import READS, WRITES, CoveredAs, chain, covers
from nn512.ir.steps import Chain


@dataclass(frozen=True, slots=True)
class PoolOp(Op):
    """A pooling with a prologue on every element it reads and an epilogue.

    `ahead_of` names convolutions, by what their nodes produce, that come before it in the graph and after it here.
    """

    source: str = field(metadata=READS)
    prologue: Chain = field(metadata=chain(CoveredAs.ON_READING))
    node: Pooling = field(metadata=covers())
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)
    ahead_of: tuple[str, ...] = ()

    channels_stay: ClassVar[bool] = True

    @property
    def counts(self) -> Mapping[str, int]:
        """Convolutions that it was moved before."""
        return {"ahead": len(self.ahead_of)}

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The steps before, the pooling, the steps after."""
        words = (*words_of(self.prologue), describe(self.node), *words_of(self.epilogue))
        yield self.writes, arrows(self.source, *words)

    def rebuild(self, graph: Rebuilder) -> None:
        """The steps before, the pooling, the steps after; an average ahead of a convolution leaves its name to both."""
        shape = graph.shape(self.writes)
        source = graph.chain(graph.lookup(self.source), self.prologue, graph.shape(self.source))
        to = self.writes if self.ahead_of else self.node.to_tensor
        name = graph.emit(dataclasses.replace(self.node, from_tensor=source, to_tensor=to), shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))


@dataclass(frozen=True, slots=True)
class SampleOp(Op):
    """Every second row and column of a tensor, the first included; passes make it where readers need no more.

    `prologue` and `epilogue` are done on each sample, one after the other.
    """

    source: str = field(metadata=READS)
    prologue: Chain = field(metadata=chain(CoveredAs.ON_READING))
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    @property
    def reason(self) -> str:
        """Why there is a copy."""
        return f"what reads this needs no more of {self.source}, which others need whole"

    @property
    def counts(self) -> Mapping[str, int]:
        """One sample."""
        return MappingProxyType({"samples": 1})

    @property
    def touched(self) -> tuple[str, ...]:
        """It reads no more of its source than it writes."""
        return (*self.tensors_read[1:], self.writes, self.writes)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The sample and what is done to it."""
        words = (*words_of(self.prologue), "every second row and column", *words_of(self.epilogue))
        yield self.writes, arrows(self.source, *words)

    def rebuild(self, graph: Rebuilder) -> None:
        """A pooling of windows of one cell, two rows and columns apart."""
        shape = graph.shape(self.writes)
        source = graph.chain(graph.lookup(self.source), self.prologue, graph.shape(self.source))
        samples = f"{self.writes}_samples" if self.epilogue else self.writes
        name = graph.emit(Pooling(source, samples, "Max1x1Stride2"), shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))
