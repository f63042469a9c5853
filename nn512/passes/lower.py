"""Graph to program: one operation per node, nothing fused."""

from __future__ import annotations

import dataclasses
from typing import assert_never

from nn512.graph.graph import Graph
from nn512.graph.nodes import Activation, Add, BatchNorm, Concat, Conv, FullyConnected, Layer, Pooling, Softmax
from nn512.passes.program import (
    ConcatOp,
    ConvBranch,
    ConvOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    Op,
    PoolOp,
    Program,
    SoftmaxOp,
    Step,
    StoreOp,
)
from nn512.passes.rewriting import nearest_single


def lower(graph: Graph) -> Program:
    """The program that evaluates the graph node by node."""
    loads = (LoadOp(node, node.to_tensor) for node in graph.inputs)
    layers = (_lower_layer(layer) for layer in graph.layers)
    stores = (StoreOp(node, node.from_tensor) for node in graph.outputs)
    return Program(graph, (*loads, *layers, *stores), graph.shapes)


def _lower_layer(layer: Layer) -> Op:
    match layer:
        case Conv():
            return ConvOp(layer.from_tensor, (), (ConvBranch(layer, (), (), layer.to_tensor),))
        case FullyConnected():
            return FullyConnectedOp(layer.from_tensor, layer, (), (), layer.to_tensor)
        case BatchNorm():
            return ElementwiseOp(layer.from_tensor, (Step(layer),), layer.to_tensor)
        case Activation():
            return ElementwiseOp(layer.from_tensor, (Step(_with_plain_slope(layer)),), layer.to_tensor)
        case Add():
            other = None if layer.from_tensor2 == layer.from_tensor1 else layer.from_tensor2
            return ElementwiseOp(layer.from_tensor1, (Step(layer, other),), layer.to_tensor)
        case Concat():
            return ConcatOp((layer.from_tensor1, layer.from_tensor2), layer, layer.to_tensor)
        case Pooling():
            return PoolOp(layer.from_tensor, layer, (), (), layer.to_tensor)
        case Softmax():
            return SoftmaxOp(layer.from_tensor, layer, layer.to_tensor)
        case _:
            assert_never(layer)


def _with_plain_slope(node: Activation) -> Activation:
    """A slope that is 0, 1 or -1 to float32 is that, so that nobody need round to find out."""
    slope = nearest_single(node.param)
    return dataclasses.replace(node, param=slope) if abs(slope) in (0, 1) and slope != node.param else node
