"""Pooling, and sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from nn512.graph.describe import describe
from nn512.graph.nodes import Pooling, Shape
from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.record import READS, WRITES, CoveredAs, chain, covers
from nn512.ir.steps import Chain


class Along(NamedTuple):
    """Windows along one axis of a picture of `size` cells, with cells of padding before it and after it."""

    size: int
    window: int
    stride: int
    before: int = 0
    after: int = 0

    @property
    def places(self) -> int:
        """How many windows there are."""
        return (self.size + self.before + self.after - self.window) // self.stride + 1

    @property
    def starts_outside(self) -> bool:
        """Whether there are windows that begin before the picture."""
        return self.before > 0

    @property
    def ends_outside(self) -> bool:
        """Whether the last window ends behind the picture."""
        return (self.places - 1) * self.stride - self.before + self.window > self.size

    @property
    def is_whole(self) -> bool:
        """Whether the only window is the picture."""
        return self.window == self.size and self.stride == 1 and not (self.before or self.after)


class Windows(NamedTuple):
    """The windows of a pooling, or the cells that a sample takes, in rows and columns."""

    rows: Along
    columns: Along

    @property
    def is_whole(self) -> bool:
        """Whether the only window is the picture."""
        return self.rows.is_whole and self.columns.is_whole


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
    def is_max(self) -> bool:
        """Whether it takes maxima rather than averages."""
        return self.node.is_max

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights of the cells in every window sum to one: affine steps may be done before or after."""
        return not self.is_max and (self.divisor is None or not self.node.is_padded)

    @property
    def divisor(self) -> int | None:
        """What every sum is divided by for an average; None where that is the number of cells inside the picture."""
        return self.node.window_h * self.node.window_w if self.node.count_padding else None

    @property
    def times_read(self) -> float:
        """How many windows see a cell, on average."""
        rows, columns = self.windows(Shape(1, 1, 1))
        return rows.window * columns.window / (rows.stride * columns.stride)

    def windows(self, source: Shape) -> Windows:
        """The windows over a picture."""
        node = self.node
        rows, columns = node.window_of(source)
        return Windows(
            Along(source.height, rows, node.stride_h, node.padding_top, node.padding_bottom),
            Along(source.width, columns, node.stride_w, node.padding_left, node.padding_right),
        )

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

    def windows(self, source: Shape) -> Windows:
        """The cells that are kept, as windows of one cell."""
        return Windows(Along(source.height, 1, 2), Along(source.width, 1, 2))

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The sample and what is done to it."""
        words = (*words_of(self.prologue), "every second row and column", *words_of(self.epilogue))
        yield self.writes, arrows(self.source, *words)

    def rebuild(self, graph: Rebuilder) -> None:
        """A pooling of windows of one cell, two rows and columns apart."""
        shape = graph.shape(self.writes)
        source = graph.chain(graph.lookup(self.source), self.prologue, graph.shape(self.source))
        samples = f"{self.writes}_samples" if self.epilogue else self.writes
        cells = Pooling(source, samples, "Max", window_h=1, window_w=1, stride_h=2, stride_w=2)
        name = graph.emit(cells, shape)
        graph.define(self.writes, graph.chain(name, self.epilogue, shape))
