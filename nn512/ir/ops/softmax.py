"""Softmax."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from nn512.graph.describe import describe
from nn512.graph.nodes import Softmax
from nn512.ir.op import Op, Rebuilder, arrows
from nn512.ir.record import READS, WRITES, covers


@dataclass(frozen=True, slots=True)
class SoftmaxOp(Op):
    """Softmax over channels."""

    source: str = field(metadata=READS)
    node: Softmax = field(metadata=covers())
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The softmax of the source."""
        yield self.writes, arrows(self.source, describe(self.node))

    def rebuild(self, graph: Rebuilder) -> None:
        """The softmax alone."""
        node = dataclasses.replace(self.node, from_tensor=graph.lookup(self.source))
        graph.define(self.writes, graph.emit(node, graph.shape(self.writes)))
