"""Normalization over the channels of every position."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from nn512.graph.describe import describe
from nn512.graph.nodes import LayerNorm, RMSNorm
from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.record import READS, WRITES, CoveredAs, chain, covers
from nn512.ir.steps import Chain


@dataclass(frozen=True, slots=True)
class ChannelNormOp(Op):
    """A layer norm, or a division by the root mean square, with a prologue on every element it reads and an epilogue.

    It reads everything two or three times, and all but the first time what the prologue made of it. That is done once.
    """

    source: str = field(metadata=READS)
    prologue: Chain = field(metadata=chain(CoveredAs.ON_READING))
    node: LayerNorm | RMSNorm = field(metadata=covers())
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    @property
    def is_centred(self) -> bool:
        """Whether the mean is subtracted."""
        return isinstance(self.node, LayerNorm)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The steps before, the normalization, the steps after."""
        words = (*words_of(self.prologue), describe(self.node), *words_of(self.epilogue))
        yield self.writes, arrows(self.source, *words)

    def rebuild(self, graph: Rebuilder) -> None:
        """The steps before, the normalization, the steps after."""
        shape = graph.shape(self.writes)
        source = graph.chain(graph.lookup(self.source), self.prologue, shape)
        name = graph.emit(dataclasses.replace(self.node, from_tensor=source), shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))
