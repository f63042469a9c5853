"""The operation of every node kind that the graph language has as a layer: one operation per node, nothing fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nn512.graph.axes import AXES
from nn512.graph.nodes import (
    LRN,
    Activation,
    BatchNorm,
    Binary,
    Concat,
    Conv,
    FullyConnected,
    Layer,
    LayerNorm,
    Pooling,
    RMSNorm,
    Shape,
    Shuffle,
    Slice,
    Softmax,
)
from nn512.ir.op import Op
from nn512.ir.ops import (
    ChannelNormOp,
    ConcatOp,
    ConvBranch,
    ConvOp,
    CropOp,
    ElementwiseOp,
    FullyConnectedOp,
    LRNOp,
    PickOp,
    PoolOp,
    SoftmaxOp,
)
from nn512.ir.steps import NormStep, activation_step, binary_step


def _conv(node: Conv) -> Op:
    return ConvOp(node.from_tensor, (), (ConvBranch(node, (), (), node.to_tensor),))


def _fully_connected(node: FullyConnected) -> Op:
    return FullyConnectedOp(node.from_tensor, node, (), node.to_tensor)


def _batch_norm(node: BatchNorm) -> Op:
    return ElementwiseOp(node.from_tensor, (NormStep(node),), node.to_tensor)


def _activation(node: Activation) -> Op:
    return ElementwiseOp(node.from_tensor, (activation_step(node),), node.to_tensor)


def _binary(node: Binary, shapes: Mapping[str, Shape]) -> Op:
    return ElementwiseOp(node.from_tensor1, (binary_step(node, shapes),), node.to_tensor)


def _concat(node: Concat) -> Op:
    return ConcatOp(node.reads, node, node.to_tensor)


def _slice(node: Slice) -> Op:
    if node.axis != AXES[0]:
        return CropOp(node.from_tensor, node, node.to_tensor)
    return PickOp(node.reads, (node,), node.to_tensor)


def _shuffle(node: Shuffle) -> Op:
    return PickOp(node.reads, (node,), node.to_tensor)


def _pooling(node: Pooling) -> Op:
    return PoolOp(node.from_tensor, (), node, (), node.to_tensor)


def _softmax(node: Softmax) -> Op:
    return SoftmaxOp(node.from_tensor, node, node.to_tensor)


def _channel_norm(node: LayerNorm | RMSNorm) -> Op:
    return ChannelNormOp(node.from_tensor, (), node, (), node.to_tensor)


def _lrn(node: LRN) -> Op:
    return LRNOp(node.from_tensor, node, (), node.to_tensor)


OPERATIONS: Mapping[type[Layer], Callable[[Any], Op]] = MappingProxyType(
    {
        Conv: _conv,
        FullyConnected: _fully_connected,
        BatchNorm: _batch_norm,
        Activation: _activation,
        Concat: _concat,
        Slice: _slice,
        Shuffle: _shuffle,
        Pooling: _pooling,
        Softmax: _softmax,
        LayerNorm: _channel_norm,
        RMSNorm: _channel_norm,
        LRN: _lrn,
    }
)
"""What makes the operation of a node, by the kind of the node; those of two tensors are made by their shapes."""


def operation_of(layer: Layer, shapes: Mapping[str, Shape]) -> Op:
    """The operation that computes one node, which reads tensors of these shapes."""
    if isinstance(layer, Binary):
        return _binary(layer, shapes)
    return OPERATIONS[type(layer)](layer)
