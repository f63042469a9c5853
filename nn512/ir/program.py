"""The program: what the passes rewrite, and what is then laid out in memory and computed by kernels.

A program is a sequence of operations on tensors. Each operation still holds the graph nodes it stands for, so that any
program can be evaluated by the reference interpreter and every emitted layer can say which graph lines it covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from nn512.graph.graph import Graph
from nn512.graph.nodes import Concat, Shape
from nn512.ir.op import Op
from nn512.ir.ops.moving import PickOp

Stride: TypeAlias = tuple[int, int]
"""Rows and columns from one pixel to the next."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A concatenation of channels that costs nothing: all parts are written straight into their places in the whole."""

    node: Concat
    parts: tuple[str, ...]
    writes: str


@dataclass(frozen=True, slots=True)
class Program:
    """Operations in the order in which they run, the shapes of all tensors, and the graph they came from.

    `thinned` are tensors that have fewer pixels than in the graph: the first and every stride-th row and column.
    `views` are slices of channels that cost nothing: what reads one reads the blocks of its source that hold it.
    """

    graph: Graph
    ops: tuple[Op, ...]
    shapes: Mapping[str, Shape]
    joined: tuple[Joined, ...] = ()
    thinned: Mapping[str, Stride] = field(default_factory=dict)
    views: tuple[PickOp, ...] = ()

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the tensors that the user asked for."""
        return frozenset(node.from_tensor for node in self.graph.outputs)


def format_program(program: Program) -> str:
    """Operations in the order in which they run, as `result shape = source -> what is done to it -> ...`.

    Batch norms in braces are part of the weights of the layer beside them. Concatenations written in place and slices
    read in place come last.
    """
    rows = [(_with_shape(result, program), words) for op in program.ops for result, words in op.definitions()]
    rows += [(_with_shape(whole.writes, program), f"{', '.join(whole.parts)} in place") for whole in program.joined]
    rows += [
        (_with_shape(result, program), f"{words} in place")
        for view in program.views
        for result, words in view.definitions()
    ]
    width = max((len(left) for left, _ in rows), default=0)
    return "".join(f"{left:<{width}} = {right}\n" for left, right in rows)


def _with_shape(tensor: str, program: Program) -> str:
    return f"{tensor} {program.shapes[tensor]}" if tensor in program.shapes else tensor
