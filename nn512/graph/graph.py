"""A checked graph: what the parser and the shape checker hand to everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from nn512.graph.kinds import KINDS, AnyLayer, Config, Input, Output
from nn512.graph.node import Layer, Node, Parameter, Shape
from nn512.graph.source import Source


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked graph.

    `layers` are all nodes but Config, Input and Output, in a topological order that keeps the order of the file where
    it can. `shapes` has every tensor. `inputs` and `outputs` stand in the order of the file.
    """

    config: Config
    inputs: tuple[Input, ...]
    layers: tuple[AnyLayer, ...]
    outputs: tuple[Output, ...]
    shapes: Mapping[str, Shape]
    source: Source

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter tensor, sorted bytewise by name: the layout of the Params struct."""
        unsorted = (p for layer in self.layers for p in layer.parameters(self.shapes))
        return tuple(sorted(unsorted, key=lambda p: p.name.encode()))

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, int, int]]:
        """The shape of the array that the caller has for every input, in the order that the input says."""
        return {node.to_tensor: node.array_shape for node in self.inputs}

    @property
    def arguments(self) -> tuple[Input | Output, ...]:
        """Inputs and outputs mixed, in the order of the arguments of the inference function."""
        return tuple(sorted((*self.inputs, *self.outputs), key=lambda n: argument_name(n).encode()))

    def on(self, platform: str) -> Graph:
        """The same graph for another platform, one of `kinds.config.PLATFORMS`."""
        return replace(self, config=replace(self.config, platform=platform))

    def line_of(self, node: Layer | Input | Output) -> int | None:
        """Line of the source on which a node begins, if it came from a text."""
        return None if node.spans is None else self.source.line_number(node.spans.kind.start)


def freeze_shapes(shapes: Mapping[str, Shape]) -> Mapping[str, Shape]:
    """A read-only copy for `Graph.shapes`."""
    return MappingProxyType(dict(shapes))


def argument_tensor(node: Input | Output) -> str:
    """Name of the tensor behind an argument of the inference function."""
    return node.to_tensor if isinstance(node, Input) else node.from_tensor


def argument_name(node: Input | Output) -> str:
    """Name of an argument of the inference function: the tensor's name and `Data`."""
    return argument_tensor(node) + "Data"


PARAMETER_SUFFIXES: Mapping[type[Node], tuple[str, ...]] = MappingProxyType(
    {kind: tuple(p.suffix for p in kind.PARAMETERS) for kind in KINDS if kind.PARAMETERS}
)
"""What the names of a node's parameters append to the name of its tensor; kinds that are not listed have none."""


def layer_parameters(layer: Layer, shapes: Mapping[str, Shape]) -> tuple[Parameter, ...]:
    """`layer.parameters(shapes)`, as a function."""
    return layer.parameters(shapes)


def multiply_accumulates(layer: Layer, shapes: Mapping[str, Shape]) -> int:
    """`layer.multiply_accumulates(shapes)`, as a function."""
    return layer.multiply_accumulates(shapes)
