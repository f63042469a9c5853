"""Tensors of the caller, on their way in and out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nn512.graph.nodes import Input, Output
from nn512.ir.op import Op, Rebuilder
from nn512.ir.record import READS, WRITES, Covered, CoveredAs, covers


@dataclass(frozen=True, slots=True)
class LoadOp(Op):
    """Bring a tensor of the caller into the blocked layout.

    With `columns` (see `plan.planes`) it stays in the order of the caller, with so many zeros left and right of a row.
    """

    node: Input = field(metadata=covers())
    writes: str = field(metadata=WRITES)
    columns: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The tensor that is loaded, and that it is."""
        return f"{self.writes}_load"

    def covered(self) -> Iterator[Covered]:
        """The input."""
        yield Covered(self.node, CoveredAs.ITSELF if self.columns is None else CoveredAs.LOADED_PLANES)

    @property
    def bytes_from_caller(self) -> int:
        """All of the input."""
        return 4 * self.node.channels * self.node.height * self.node.width

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The result is the caller's."""
        yield self.writes, "the caller's"

    def rebuild(self, graph: Rebuilder) -> None:
        """An input needs no node of its own."""
        graph.load(self.writes)


@dataclass(frozen=True, slots=True)
class StoreOp(Op):
    """Hand a tensor to the caller as channels x height x width."""

    node: Output = field(metadata=covers())
    source: str = field(metadata=READS)

    @property
    def name(self) -> str:
        """The tensor that is handed over, and that it is."""
        return f"{self.source}_store"

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The caller's tensor is the source."""
        yield "the caller's", self.source

    def rebuild(self, graph: Rebuilder) -> None:
        """An output needs no node of its own, but what it reads must be there."""
        graph.lookup(self.source)
