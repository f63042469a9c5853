"""The base of all operations, and what rebuilding a graph from them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol

from nn512.graph.nodes import BatchNorm, Layer, Shape
from nn512.ir.record import Record
from nn512.ir.steps import Chain


class Rebuilder(Protocol):
    """Puts graph nodes together that mean what a program means (see `nn512.ir.regraph`)."""

    def lookup(self, tensor: str) -> str:
        """The graph's name of a tensor of the program."""

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor of the program."""

    def load(self, tensor: str) -> None:
        """A tensor of the program is an input."""

    def emit(self, node: Layer, shape: Shape) -> str:
        """Add a node; gives the name of its tensor."""

    def define(self, tensor: str, name: str) -> None:
        """A tensor of the program is `name` in the graph."""

    def chain(self, name: str, steps: Chain, shape: Shape) -> str:
        """Add the nodes of a chain behind a tensor of the graph."""

    def norms(self, name: str, nodes: Iterable[BatchNorm], shape: Shape) -> str:
        """Add batch norms behind a tensor of the graph."""


@dataclass(frozen=True, slots=True)
class Op(Record):
    """One operation of a program: made by lowering, rewritten by passes, computed by a kernel.

    `channels_stay`: every channel of the result has its place in memory where the source has it, so that results take
    over the layout of what they are computed from. Otherwise results have channels in order, without gaps, except those
    of depthwise convolutions, which stay, too.
    `reads_in_order`: that is how the first tensor that it reads must have them, too.
    """

    channels_stay: ClassVar[bool] = False
    reads_in_order: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What no two operations have in common: the first tensor that is written, for most."""
        return self.tensors_written[0]

    @property
    def reason(self) -> str:
        """Why there is an operation that stands for no node; empty for all others."""
        return ""

    @property
    def counts(self) -> Mapping[str, int]:
        """What a summary of a pass counts besides nodes and their parts (see `nn512.passes.effects`)."""
        return MappingProxyType({})

    @property
    def touched(self) -> tuple[str, ...]:
        """The tensors whose bytes are read or written, each once for every time all of it is."""
        return (*self.tensors_read, *self.tensors_written)

    @property
    def bytes_from_caller(self) -> int:
        """Bytes of the caller's tensors that are read: from memory, as they were not touched before."""
        return 0

    def definitions(self) -> Iterator[tuple[str, str]]:
        """Result and how it is computed, in words, for listings: a pair for every result."""
        raise NotImplementedError

    def rebuild(self, graph: Rebuilder) -> None:
        """Add the nodes that the operation stands for to a graph."""
        raise NotImplementedError


def arrows(*words: str) -> str:
    """What is done one after another."""
    return " -> ".join(words)


def words_of(steps: Chain) -> Iterator[str]:
    """The steps of a chain in words."""
    return (step.word for step in steps)
