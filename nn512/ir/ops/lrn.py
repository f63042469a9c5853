"""Local response normalization."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from nn512.graph.describe import describe
from nn512.graph.nodes import LRN
from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.record import READS, WRITES, CoveredAs, chain, covers
from nn512.ir.steps import Chain


@dataclass(frozen=True, slots=True)
class LRNOp(Op):
    """A local response normalization across channels, which must stand in order, and an epilogue."""

    source: str = field(metadata=READS)
    node: LRN = field(metadata=covers())
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)

    reads_in_order: ClassVar[bool] = True

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The normalization, the steps after."""
        yield self.writes, arrows(self.source, describe(self.node), *words_of(self.epilogue))

    def rebuild(self, graph: Rebuilder) -> None:
        """The normalization, the steps after."""
        shape = graph.shape(self.writes)
        name = graph.emit(dataclasses.replace(self.node, from_tensor=graph.lookup(self.source)), shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))
