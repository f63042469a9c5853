"""A program as a graph again, so that the reference interpreter can evaluate it after any pass."""

from __future__ import annotations

from collections.abc import Iterable

from nn512.graph.graph import Graph, freeze_shapes
from nn512.graph.nodes import Activation, BatchNorm, Layer, Shape
from nn512.ir.program import Program
from nn512.ir.steps import Chain, NormStep


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
        self._views = {view.writes: view for view in program.views}
        self._known: dict[str, str] = {}
        self._nodes: dict[str, Layer] = {}
        self._shapes: dict[str, Shape] = {}

    def build(self) -> Graph:
        for op in self._program.ops:
            op.rebuild(self)
        graph = self._program.graph
        return Graph(
            graph.config,
            graph.inputs,
            tuple(self._nodes.values()),
            graph.outputs,
            freeze_shapes(self._shapes),
            graph.source,
        )

    def lookup(self, tensor: str) -> str:
        """The graph's name of a tensor; a joined whole exists as soon as all its parts do, a view as what it is of."""
        if tensor in self._views and tensor not in self._known:
            self._views[tensor].rebuild(self)
        elif tensor not in self._known:
            whole = self._joined[tensor]
            node = whole.node.with_tensors([self.lookup(part) for part in whole.parts])
            self.define(tensor, self.emit(node, self.shape(tensor)))
        return self._known[tensor]

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor of the program."""
        return self._program.shapes[tensor]

    def load(self, tensor: str) -> None:
        """A tensor of the program is an input."""
        self._shapes[tensor] = self.shape(tensor)
        self._known[tensor] = tensor

    def emit(self, node: Layer, shape: Shape) -> str:
        """Add a node; the same node may come again where two operations recompute it."""
        before = self._nodes.setdefault(node.to_tensor, node)
        if before != node:
            raise ValueError(f"{node.to_tensor} is computed in two ways")
        self._shapes[node.to_tensor] = shape
        return node.to_tensor

    def define(self, tensor: str, name: str) -> None:
        """Record that a tensor of the program is `name` in the graph; an output must go by its own name."""
        if tensor in self._outputs and tensor != name:
            name = self.emit(Activation(name, tensor, "ReLU", 1.0), self._shapes[name])
        self._known[tensor] = name

    def chain(self, name: str, steps: Chain, shape: Shape) -> str:
        """Add the nodes of a chain behind a tensor of the graph."""
        for step in steps:
            name = self.emit(step.on_graph(name, tuple(self.lookup(operand) for operand in step.operands)), shape)
        return name

    def norms(self, name: str, nodes: Iterable[BatchNorm], shape: Shape) -> str:
        """Add batch norms behind a tensor of the graph."""
        return self.chain(name, tuple(NormStep(node) for node in nodes), shape)
