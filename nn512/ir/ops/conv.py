"""Convolutions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from nn512.graph.describe import describe
from nn512.graph.nodes import BatchNorm, Conv, Input, Layer, Shuffle
from nn512.graph.windows import NO_SIDES, Sides
from nn512.ir.op import Op, Rebuilder, arrows, words_of
from nn512.ir.record import READS, RECORDS, WRITES, CoveredAs, Record, chain, covers
from nn512.ir.steps import Chain


@dataclass(frozen=True, slots=True)
class ConvBranch(Record):
    """One convolution of a `ConvOp`: node, batch norms folded into its weights, what follows in registers, result."""

    node: Conv = field(metadata=covers())
    folded: tuple[BatchNorm, ...] = field(metadata=covers(CoveredAs.FOLDED_AFTER))
    epilogue: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)


@dataclass(frozen=True, slots=True)
class ConvOp(Op):
    """Convolutions of the same geometry that read the same tensor.

    `shuffled` is a shuffle of the source that moves nothing: weights are packed for channels in the order before it. A
    depthwise convolution leaves its result in that order, too; that of any other is as in the graph.
    `normalized` are batch norms of the source, folded into the weights; `prologue` is applied to what they read.
    When a program is laid out: the source has `zeros` around it already, all or some of the padding; it is the tensor
    of a `caller`, channels x height x width.
    """

    source: str = field(metadata=READS)
    caller: Input | None = field(metadata=covers(CoveredAs.CALLER), default=None, kw_only=True)
    shuffled: Shuffle | None = field(metadata=covers(CoveredAs.SHUFFLED), default=None, kw_only=True)
    normalized: tuple[BatchNorm, ...] = field(metadata=covers(CoveredAs.FOLDED_BEFORE), default=(), kw_only=True)
    prologue: Chain = field(metadata=chain(CoveredAs.ON_READING))
    branches: tuple[ConvBranch, ...] = field(metadata=RECORDS)
    zeros: Sides = NO_SIDES

    @property
    def node(self) -> Conv:
        """The first convolution: all agree in all but output channels."""
        return self.branches[0].node

    @property
    def tensors_read(self) -> tuple[str, ...]:
        """Tensors of the net only: not the source where that is the caller's."""
        everything = super(ConvOp, self).tensors_read
        return everything if self.caller is None else everything[1:]

    @property
    def prepared(self) -> str:
        """Name of the source after the prologue, where that is kept in memory."""
        return f"{self.name}_input"

    @property
    def is_pointwise(self) -> bool:
        """Whether every pixel of the result depends on the same pixel of the source alone."""
        node = self.node
        return (node.filter_h, node.filter_w, node.stride_h, node.stride_w) == (1, 1, 1, 1) and not node.is_padded

    @property
    def leaves_order(self) -> bool:
        """Whether the result has its channels in the order before a shuffle, too: of a depthwise convolution."""
        return self.shuffled is not None and self.node.groups > 1

    def definitions(self) -> Iterator[tuple[str, str]]:
        """Every branch; shuffles and batch norms in braces are part of the weights."""
        for number, branch in enumerate(self.branches):
            layer = with_folded((self.shuffled, *self.normalized), describe(branch.node), branch.folded)
            behind = (*words_of(branch.epilogue), *(["{back}"] if self.leaves_order else []))
            words = arrows(self.source, *words_of(self.prologue), layer, *behind)
            yield branch.writes, words + ("   (together with the one above)" if number else "")

    def rebuild(self, graph: Rebuilder) -> None:
        """The shuffle, norms and steps before, then for each branch the convolution and what follows it."""
        before = graph.norms(shuffled(graph, self.source, self.shuffled), self.normalized, graph.shape(self.source))
        source = graph.chain(before, self.prologue, graph.shape(self.source))
        for branch in self.branches:
            shape = graph.shape(branch.writes)
            name = graph.emit(dataclasses.replace(branch.node, from_tensor=source), shape)
            name = graph.chain(graph.norms(name, branch.folded, shape), branch.epilogue, shape)
            if self.shuffled is not None and self.leaves_order:
                undone = shape.channels // self.shuffled.groups
                name = graph.emit(Shuffle(name, branch.writes, undone), shape)
            graph.define(branch.writes, name)


def shuffled(graph: Rebuilder, source: str, node: Shuffle | None) -> str:
    """Add a shuffle of a tensor of the program, if there is one; the name of what the layer behind it reads."""
    name = graph.lookup(source)
    if node is None:
        return name
    here = dataclasses.replace(node, from_tensor=name, to_tensor=f"{name}_shuffled{node.groups}")
    return graph.emit(here, graph.shape(source))


def with_folded(before: tuple[Layer | None, ...], layer: str, after: tuple[BatchNorm, ...]) -> str:
    """A layer in words, what is part of its weights in braces beside it."""
    first = (f"{{{describe(node)}}}" for node in before if node is not None)
    return " ".join((*first, layer, *(f"{{{describe(node)}}}" for node in after)))
