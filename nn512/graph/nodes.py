"""The node kinds under the name by which other packages import them; they stand in `nn512.graph.kinds`."""

from __future__ import annotations

from nn512.graph.fields import MAX_CACHE, MAX_GEOMETRY, MAX_SIZE, FieldInfo, ValueType, field_infos
from nn512.graph.kinds import (
    ACTIVATIONS,
    KINDS,
    LRN,
    PLATFORMS,
    POOLINGS,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    Div,
    FullyConnected,
    Input,
    LayerNorm,
    Max,
    Min,
    Mul,
    Output,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
)
from nn512.graph.kinds import AnyBinary as Binary
from nn512.graph.kinds import AnyLayer as Layer
from nn512.graph.kinds import AnyNode as Node
from nn512.graph.node import Shape, Spans

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "LRN",
    "MAX_CACHE",
    "MAX_GEOMETRY",
    "MAX_SIZE",
    "PLATFORMS",
    "POOLINGS",
    "Activation",
    "Add",
    "BatchNorm",
    "Binary",
    "Concat",
    "Config",
    "Conv",
    "Div",
    "FieldInfo",
    "FullyConnected",
    "Input",
    "Layer",
    "LayerNorm",
    "Max",
    "Min",
    "Mul",
    "Node",
    "Output",
    "Pooling",
    "RMSNorm",
    "Shape",
    "Shuffle",
    "Slice",
    "Softmax",
    "Spans",
    "Sub",
    "ValueType",
    "field_infos",
    "tensor_written",
    "tensors_read",
]


def tensors_read(node: Node) -> tuple[str, ...]:
    """`node.reads`, as a function."""
    return node.reads


def tensor_written(node: Node) -> str | None:
    """`node.writes`, as a function."""
    return node.writes
