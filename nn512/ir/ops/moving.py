"""Operations that move tensors and compute nothing."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from nn512.graph.describe import describe
from nn512.graph.nodes import Concat, Layer, Shape, Slice
from nn512.graph.windows import Sides
from nn512.ir.op import Op, Rebuilder, arrows
from nn512.ir.picking import Pick, picked
from nn512.ir.record import READS, WRITES, covers


@dataclass(frozen=True, slots=True)
class ConcatOp(Op):
    """The sources one behind another along the node's axis, copied."""

    sources: tuple[str, ...] = field(metadata=READS)
    node: Concat = field(metadata=covers())
    writes: str = field(metadata=WRITES)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """All sources."""
        yield self.writes, arrows(", ".join(self.sources), f"Concat {self.node.to_tensor}")

    def rebuild(self, graph: Rebuilder) -> None:
        """The concatenation alone."""
        node = self.node.with_tensors([graph.lookup(name) for name in self.sources])
        graph.define(self.writes, graph.emit(node, graph.shape(self.writes)))


@dataclass(frozen=True, slots=True)
class PickOp(Op):
    """Channels of one or more tensors in any order: slices, shuffles and concatenations of channels in a row.

    `layers` are the nodes that this stands for, each after those that it reads. `sources` are the tensors that they
    read and none of them writes, once for every time they do.
    """

    sources: tuple[str, ...] = field(metadata=READS)
    layers: tuple[Layer, ...] = field(metadata=covers())
    writes: str = field(metadata=WRITES)

    @property
    def key(self) -> Hashable | None:
        """As for any operation; of several nodes it does not tell which one reads which."""
        return super(PickOp, self).key if len(self.layers) == 1 else None

    @property
    def counts(self) -> Mapping[str, int]:
        """Nodes that are done together with the last one."""
        return MappingProxyType({"picked": len(self.layers) - 1})

    def picks(self, shapes: Mapping[str, Shape]) -> tuple[Pick, ...]:
        """The channels of the result in order, by the numbers of the sources, whose shapes are given."""
        return picked(self.layers, [shapes[name].channels for name in self.sources])

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The nodes."""
        yield self.writes, arrows(", ".join(dict.fromkeys(self.sources)), *map(describe, self.layers))

    def rebuild(self, graph: Rebuilder) -> None:
        """All nodes, of which the last one has the result."""
        outside = iter(self.sources)
        own = {layer.to_tensor for layer in self.layers}
        for layer in self.layers:
            reads = [name if name in own else graph.lookup(next(outside)) for name in layer.reads]
            graph.emit(layer.with_tensors(reads), graph.shape(layer.to_tensor))
        graph.define(self.writes, self.layers[-1].to_tensor)


@dataclass(frozen=True, slots=True)
class CropOp(Op):
    """Some of the rows or columns of a tensor."""

    source: str = field(metadata=READS)
    node: Slice = field(metadata=covers())
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The slice."""
        yield self.writes, arrows(self.source, describe(self.node))

    def rebuild(self, graph: Rebuilder) -> None:
        """The slice alone."""
        node = self.node.with_tensors([graph.lookup(self.source)])
        graph.define(self.writes, graph.emit(node, graph.shape(self.writes)))


@dataclass(frozen=True, slots=True)
class CopyOp(Op):
    """The same tensor once more, where it has to stand in two places."""

    source: str = field(metadata=READS)
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    @property
    def reason(self) -> str:
        """Why there is a copy."""
        return f"{self.source} stands in another concatenation, or twice in this one"

    @property
    def counts(self) -> Mapping[str, int]:
        """One copy."""
        return MappingProxyType({"copies": 1})

    def definitions(self) -> Iterator[tuple[str, str]]:
        """A copy."""
        yield self.writes, arrows(self.source, "copy")

    def rebuild(self, graph: Rebuilder) -> None:
        """The same tensor of the graph."""
        graph.define(self.writes, graph.lookup(self.source))


@dataclass(frozen=True, slots=True)
class RelayoutOp(Op):
    """The same tensor with its channels in other lanes: made where two layouts clash.

    Where a tensor has too many segments of channels to become part of a whole (`crowded`), it is copied to one.
    """

    source: str = field(metadata=READS)
    writes: str = field(metadata=WRITES)
    crowded: bool = False

    @property
    def reason(self) -> str:
        """Why there is a relayout."""
        if self.crowded:
            return f"{self.source} is made up of too many pieces to become part of another concatenation in place"
        return f"{self.source} has its channels in other lanes than its reader takes them from"

    @property
    def counts(self) -> Mapping[str, int]:
        """One copy."""
        return MappingProxyType({"copies": 1})

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The same channels elsewhere."""
        yield self.writes, arrows(self.source, "channels to other lanes")

    def rebuild(self, graph: Rebuilder) -> None:
        """The same tensor of the graph."""
        graph.define(self.writes, graph.lookup(self.source))


@dataclass(frozen=True, slots=True)
class PadOp(Op):
    """The same tensor with zeros around every channel, for a convolution: made when a program is laid out."""

    source: str = field(metadata=READS)
    sides: Sides
    writes: str = field(metadata=WRITES)

    channels_stay: ClassVar[bool] = True

    @property
    def reason(self) -> str:
        """Why there is a padded copy."""
        return "too many tiles would touch the padding for each to have a routine of its own"

    @property
    def _zeros(self) -> str:
        top, bottom, left, right = self.sides
        if (top, left) == (bottom, right):
            return f"{top} rows and {left} columns of zeros on each side"
        return f"rows of zeros, {top} above and {bottom} below, and columns, {left} left and {right} right"

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The zeros that are added."""
        yield self.writes, arrows(self.source, self._zeros)

    def rebuild(self, graph: Rebuilder) -> None:
        """Convolutions of the graph have their padding themselves."""
        del graph
        raise ValueError("padded copies belong to the plan, not to the program")
