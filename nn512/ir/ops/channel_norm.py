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
    """A layer norm, or a division by the root mean square, and an epilogue.

    It has no prologue: everything is read two or three times.
    """

    source: str = field(metadata=READS)
    node: LayerNorm | RMSNorm = field(metadata=covers())
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    @property
    def is_centred(self) -> bool:
        """Whether the mean is subtracted."""
        return isinstance(self.node, LayerNorm)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The normalization, the steps after."""
        yield self.writes, arrows(self.source, describe(self.node), *words_of(self.epilogue))

    def rebuild(self, graph: Rebuilder) -> None:
        """The normalization, the steps after."""
        shape = graph.shape(self.writes)
        name = graph.emit(dataclasses.replace(self.node, from_tensor=graph.lookup(self.source)), shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))
