"""Graph to program: one operation per node, nothing fused.

A convolution that sees the whole picture at once is a fully connected layer under another name: each of its weights is
used once, so it is computed as one. Squeeze-and-excitation blocks and classifiers have many of these.
"""

from __future__ import annotations

from nn512.graph.graph import Graph
from nn512.graph.nodes import Conv, Layer, Shape
from nn512.ir import FullyConnectedOp, LoadOp, Op, Program, StoreOp, operation_of


def lower(graph: Graph) -> Program:
    """The program that evaluates the graph node by node."""
    loads = (LoadOp(node, node.to_tensor) for node in graph.inputs)
    layers = (_operation(layer, graph) for layer in graph.layers)
    stores = (StoreOp(node, node.from_tensor) for node in graph.outputs)
    return Program(graph, (*loads, *layers, *stores), graph.shapes)


def _operation(layer: Layer, graph: Graph) -> Op:
    if isinstance(layer, Conv) and _sees_all(layer, graph.shapes[layer.from_tensor]):
        return FullyConnectedOp(layer.from_tensor, layer, (), layer.to_tensor)
    return operation_of(layer, graph.shapes)


def _sees_all(node: Conv, source: Shape) -> bool:
    """Whether the filter is as large as the picture, which has no padding, and every output sees all channels."""
    window = (1 + (node.filter_h - 1) * node.dilation_h, 1 + (node.filter_w - 1) * node.dilation_w)
    dense = (node.filter_h, node.filter_w) == window and node.groups == 1
    return dense and window == (source.height, source.width) and not node.is_padded
