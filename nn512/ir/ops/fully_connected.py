"""Fully connected layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from nn512.graph.describe import describe
from nn512.graph.nodes import BatchNorm, Conv, FullyConnected, Shuffle
from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.ops.conv import shuffled, with_folded
from nn512.ir.record import READS, WRITES, CoveredAs, chain, covers
from nn512.ir.steps import Chain


@dataclass(frozen=True, slots=True)
class FullyConnectedOp(Op):
    """A fully connected layer with batch norms folded in, of its source and of its result, and an epilogue.

    A convolution whose filter is as large as the picture is one, too: its parameters are the same. `shuffled` is as in
    `ConvOp`.
    """

    source: str = field(metadata=READS)
    shuffled: Shuffle | None = field(metadata=covers(CoveredAs.SHUFFLED), default=None, kw_only=True)
    normalized: tuple[BatchNorm, ...] = field(metadata=covers(CoveredAs.FOLDED_BEFORE), default=(), kw_only=True)
    node: FullyConnected | Conv = field(metadata=covers())
    folded: tuple[BatchNorm, ...] = field(metadata=covers(CoveredAs.FOLDED_AFTER), default=(), kw_only=True)
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The layer; a shuffle and batch norms in braces are part of the weights."""
        layer = with_folded((self.shuffled, *self.normalized), describe(self.node), self.folded)
        yield self.writes, arrows(self.source, layer, *words_of(self.epilogue))

    def rebuild(self, graph: Rebuilder) -> None:
        """The shuffle and batch norms before, the layer, what follows it."""
        shape = graph.shape(self.writes)
        source = graph.norms(shuffled(graph, self.source, self.shuffled), self.normalized, graph.shape(self.source))
        name = graph.norms(graph.emit(dataclasses.replace(self.node, from_tensor=source), shape), self.folded, shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))
