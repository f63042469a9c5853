"""A program as a graph again, so that the reference interpreter can evaluate it after any pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import assert_never

from nn512.graph.graph import Graph, freeze_shapes
from nn512.graph.nodes import Activation, Add, BatchNorm, Concat, Layer, Shape
from nn512.passes.program import (
    ConcatOp,
    ConvOp,
    CopyOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    Op,
    PadOp,
    PoolOp,
    Program,
    RelayoutOp,
    SoftmaxOp,
    Step,
    StoreOp,
)


def to_graph(program: Program) -> Graph:
    """A graph with the meaning of the program: its nodes, wired as the program wires them.

    Raises KeyError where an operation reads a tensor that none before it has produced: the order is checked, too.
    """
    return _Builder(program).build()


class _Builder:
    """Nodes collected so far; `_known` maps tensors of the program to tensors of the graph."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._outputs = program.outputs
        self._joined = {joined.writes: joined for joined in program.joined}
        self._known: dict[str, str] = {}
        self._nodes: dict[str, Layer] = {}
        self._shapes: dict[str, Shape] = {}

    def build(self) -> Graph:
        for op in self._program.ops:
            self._add(op)
        graph = self._program.graph
        return Graph(
            graph.config,
            graph.inputs,
            tuple(self._nodes.values()),
            graph.outputs,
            freeze_shapes(self._shapes),
            graph.source,
        )

    def _lookup(self, tensor: str) -> str:
        """The graph's name of a tensor; a joined whole exists as soon as both parts do."""
        if tensor not in self._known:
            whole = self._joined[tensor]
            first, second = (self._lookup(part) for part in whole.parts)
            node = dataclasses.replace(whole.node, from_tensor1=first, from_tensor2=second)
            self._define(tensor, self._emit(node, self._program.shapes[tensor]))
        return self._known[tensor]

    def _emit(self, node: Layer, shape: Shape) -> str:
        """Add a node; the same node may come again where two operations recompute it."""
        before = self._nodes.setdefault(node.to_tensor, node)
        if before != node:
            raise ValueError(f"{node.to_tensor} is computed in two ways")
        self._shapes[node.to_tensor] = shape
        return node.to_tensor

    def _define(self, tensor: str, name: str) -> None:
        """Record that a tensor of the program is `name` in the graph; an output must go by its own name."""
        if tensor in self._outputs and tensor != name:
            name = self._emit(Activation(name, tensor, "ReLU", 1.0), self._shapes[name])
        self._known[tensor] = name

    def _chain(self, name: str, steps: Iterable[Step], shape: Shape) -> str:
        for step in steps:
            match step.node:
                case Add():
                    other = name if step.operand is None else self._lookup(step.operand)
                    name = self._emit(dataclasses.replace(step.node, from_tensor1=name, from_tensor2=other), shape)
                case Activation() | BatchNorm():
                    name = self._emit(dataclasses.replace(step.node, from_tensor=name), shape)
                case _:
                    assert_never(step.node)
        return name

    def _norms(self, name: str, nodes: Iterable[BatchNorm], shape: Shape) -> str:
        return self._chain(name, (Step(node) for node in nodes), shape)

    def _add(self, op: Op) -> None:
        shapes = self._program.shapes
        match op:
            case LoadOp():
                self._shapes[op.writes] = shapes[op.writes]
                self._known[op.writes] = op.writes
            case StoreOp():
                self._lookup(op.source)
            case ConvOp():
                start = self._norms(self._lookup(op.source), op.normalized, shapes[op.source])
                source = self._chain(start, op.prologue, shapes[op.source])
                for branch in op.branches:
                    shape = shapes[branch.writes]
                    name = self._emit(dataclasses.replace(branch.node, from_tensor=source), shape)
                    self._define(
                        branch.writes, self._chain(self._norms(name, branch.folded, shape), branch.epilogue, shape)
                    )
            case FullyConnectedOp():
                source = self._norms(self._lookup(op.source), op.normalized, shapes[op.source])
                name = self._emit(dataclasses.replace(op.node, from_tensor=source), shapes[op.writes])
                name = self._norms(name, op.folded, shapes[op.writes])
                self._define(op.writes, self._chain(name, op.epilogue, shapes[op.writes]))
            case PoolOp():
                source = self._chain(self._lookup(op.source), op.prologue, shapes[op.source])
                # an average ahead of a convolution leaves its name to the result of both
                to = op.writes if op.ahead_of else op.node.to_tensor
                pooling = dataclasses.replace(op.node, from_tensor=source, to_tensor=to)
                name = self._emit(pooling, shapes[op.writes])
                self._define(op.writes, self._chain(name, op.epilogue, shapes[op.writes]))
            case SoftmaxOp():
                softmax = dataclasses.replace(op.node, from_tensor=self._lookup(op.source))
                self._define(op.writes, self._emit(softmax, shapes[op.writes]))
            case ElementwiseOp():
                self._define(op.writes, self._chain(self._lookup(op.source), op.steps, shapes[op.writes]))
            case ConcatOp():
                first, second = (self._lookup(name) for name in op.sources)
                node = Concat(first, second, op.node.to_tensor)
                self._define(op.writes, self._emit(node, shapes[op.writes]))
            case CopyOp() | RelayoutOp():
                self._define(op.writes, self._lookup(op.source))
            case PadOp():
                raise ValueError("padded copies belong to the plan, not to the program")
            case _:
                assert_never(op)
