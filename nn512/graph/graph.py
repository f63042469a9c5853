"""A checked graph: what the parser and the shape checker hand to everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import assert_never

from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Layer,
    Node,
    Output,
    Pooling,
    Shape,
    Softmax,
)
from nn512.graph.source import Source


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter tensor: a field of the Params struct."""

    name: str
    shape: tuple[int, ...]
    owner: Layer

    @property
    def elements(self) -> int:
        """Number of floats."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked graph.

    `layers` are all nodes but Config, Input and Output, in a topological order that keeps the order of the file where
    it can. `shapes` has every tensor. `inputs` and `outputs` stand in the order of the file.
    """

    config: Config
    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...]
    shapes: Mapping[str, Shape]
    source: Source

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter tensor, sorted bytewise by name: the layout of the Params struct."""
        unsorted = (p for layer in self.layers for p in layer_parameters(layer, self.shapes))
        return tuple(sorted(unsorted, key=lambda p: p.name.encode()))

    @property
    def arguments(self) -> tuple[Input | Output, ...]:
        """Inputs and outputs mixed, in the order of the arguments of the inference function."""
        return tuple(sorted((*self.inputs, *self.outputs), key=lambda n: argument_name(n).encode()))

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
    {
        Conv: ("Weights", "Biases"),
        FullyConnected: ("Weights", "Biases"),
        BatchNorm: ("Means", "Variances", "Scales", "Shifts"),
    }
)
"""What the names of a node's parameters append to the name of its tensor; kinds that are not listed have none."""


def layer_parameters(layer: Layer, shapes: Mapping[str, Shape]) -> tuple[Parameter, ...]:
    """Parameter tensors of one layer; `shapes` must hold the tensor it reads."""

    def parameter(suffix: str, *shape: int) -> Parameter:
        return Parameter(layer.to_tensor + suffix, shape, layer)

    match layer:
        case Conv():
            channels = shapes[layer.from_tensor].channels
            return (
                parameter("Weights", layer.to_channels, channels // layer.groups, layer.filter_h, layer.filter_w),
                parameter("Biases", layer.to_channels),
            )
        case FullyConnected():
            return (
                parameter("Weights", layer.to_channels, *shapes[layer.from_tensor]),
                parameter("Biases", layer.to_channels),
            )
        case BatchNorm():
            channels = shapes[layer.from_tensor].channels
            return tuple(parameter(suffix, channels) for suffix in PARAMETER_SUFFIXES[BatchNorm])
        case Activation() | Add() | Concat() | Pooling() | Softmax():
            return ()
        case _:
            assert_never(layer)


def multiply_accumulates(layer: Layer, shapes: Mapping[str, Shape]) -> int:
    """Multiply-accumulate operations of one layer by its definition (padding counted, as is customary)."""
    match layer:
        case Conv():
            to = shapes[layer.to_tensor]
            per_output = shapes[layer.from_tensor].channels // layer.groups * layer.filter_h * layer.filter_w
            return to.elements * per_output
        case FullyConnected():
            return layer.to_channels * shapes[layer.from_tensor].elements
        case BatchNorm() | Activation() | Add() | Concat() | Pooling() | Softmax():
            return 0
        case _:
            assert_never(layer)
