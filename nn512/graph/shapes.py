"""Shape inference, and every rule about sizes."""

from __future__ import annotations

from typing import assert_never

from nn512.graph.diagnostics import Report, quote
from nn512.graph.graph import layer_parameters
from nn512.graph.nodes import (
    MAX_SIZE,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Layer,
    Output,
    Pooling,
    Shape,
    Softmax,
    tensors_read,
)
from nn512.graph.source import Span
from nn512.graph.wiring import Wiring

MOST_BYTES = 2**40
"""Most bytes that all tensors of a graph, and most that all its parameters, may take together."""

_FLOAT = 4  # bytes


def infer_shapes(wiring: Wiring, report: Report) -> dict[str, Shape]:
    """The shape of every tensor but those that a mistake hides, here or upstream. Each mistake is reported once."""
    shapes: dict[str, Shape] = {}
    totals = {"tensors": 0, "parameters": 0}
    for statement in wiring.order:
        node = statement.node
        if node is None or isinstance(node, Config | Output) or not shapes.keys() >= set(tensors_read(node)):
            continue
        shape = (
            Shape(node.channels, node.height, node.width) if isinstance(node, Input) else _infer(node, shapes, report)
        )
        if shape is None:
            continue
        parameters = 0
        if not isinstance(node, Input):
            parameters = sum(p.elements for p in layer_parameters(node, shapes))
        if not _fits(node, shape, parameters, statement.span, report):
            continue
        for what, elements in (("tensors", shape.elements), ("parameters", parameters)):
            before = totals[what]
            totals[what] += _FLOAT * elements
            if before <= MOST_BYTES < totals[what]:  # said once, where the sum passes the limit
                message = f"the graph is too large: with this node its {what} take {_too_many(totals[what])}"
                report.add(statement.span, message)
        if node.to_tensor not in wiring.ambiguous:
            shapes[node.to_tensor] = shape
    return shapes


def _fits(node: Input | Layer, shape: Shape, parameters: int, span: Span, report: Report) -> bool:
    """Whether one node alone stays within bounds."""
    tensor = f"tensor {quote(node.to_tensor)} of shape {shape}"
    if max(shape) > MAX_SIZE:
        report.add(span, f"{tensor} is too large: no extent may pass {MAX_SIZE:,}")
    elif _FLOAT * shape.elements > MOST_BYTES:
        report.add(span, f"{tensor} is too large: it takes {_too_many(_FLOAT * shape.elements)}")
    elif _FLOAT * parameters > MOST_BYTES:
        report.add(span, f"the parameters of {quote(node.to_tensor)} are too large: {_too_many(_FLOAT * parameters)}")
    else:
        return True
    return False


def _too_many(size: int) -> str:
    return f"{size:,} bytes; the limit is {MOST_BYTES:,}"


def _infer(layer: Layer, shapes: dict[str, Shape], report: Report) -> Shape | None:
    """Shape of a layer's tensor; None, with a report, if the layer does not fit what it reads."""
    match layer:
        case Conv():
            return _convolved(layer, shapes[layer.from_tensor], report)
        case Pooling():
            return _pooled(layer, shapes[layer.from_tensor], report)
        case FullyConnected():
            return Shape(layer.to_channels, 1, 1)
        case BatchNorm() | Activation() | Softmax():
            return shapes[layer.from_tensor]
        case Add():
            first, second = shapes[layer.from_tensor1], shapes[layer.from_tensor2]
            if first == second:
                return first
            _mismatch(layer, "Add needs two tensors of the same shape", shapes, report)
            return None
        case Concat():
            first, second = shapes[layer.from_tensor1], shapes[layer.from_tensor2]
            if first[1:] == second[1:]:
                return Shape(first.channels + second.channels, first.height, first.width)
            _mismatch(layer, "Concat needs two tensors of the same height and width", shapes, report)
            return None
        case _:
            assert_never(layer)


def _mismatch(layer: Add | Concat, need: str, shapes: dict[str, Shape], report: Report) -> None:
    first, second = (f"{quote(name)} is {shapes[name]}" for name in (layer.from_tensor1, layer.from_tensor2))
    report.add(_span(layer, "FromTensor2"), f"{need}, but {first} and {second}")


def _convolved(conv: Conv, shape: Shape, report: Report) -> Shape | None:
    mistakes = len(report.diagnostics)
    for field, count, what in (
        ("Groups", shape.channels, f"the {shape.channels} channels of {quote(conv.from_tensor)} ({shape})"),
        ("ToChannels", conv.to_channels, f"ToChannels {conv.to_channels}"),
    ):
        if count % conv.groups:
            report.add(_span(conv, field), f"{what} cannot be divided into {conv.groups} groups")
    extents = []
    for axis, size, taps, stride, padding, dilation in (
        ("H", shape.height, conv.filter_h, conv.stride_h, conv.padding_h, conv.dilation_h),
        ("W", shape.width, conv.filter_w, conv.stride_w, conv.padding_w, conv.dilation_w),
    ):
        window = 1 + (taps - 1) * dilation
        room = size + 2 * padding - window
        if room < 0:
            report.add(_span(conv, f"Filter{axis}"), _no_room(conv.from_tensor, shape, axis, window, padding))
        extents.append(room // stride + 1)
    return Shape(conv.to_channels, *extents) if mistakes == len(report.diagnostics) else None


def _pooled(pooling: Pooling, shape: Shape, report: Report) -> Shape | None:
    mistakes = len(report.diagnostics)
    window = pooling.window
    extents = []
    for axis, size, padding in (
        ("H", shape.height, pooling.padding_h),
        ("W", shape.width, pooling.padding_w),
    ):
        if window is None:
            if padding:
                report.add(_span(pooling, f"Padding{axis}"), f"{pooling.kind} takes no padding")
            extents.append(1)
            continue
        room = size + 2 * padding - window
        if padding >= window:
            message = f"padding too large: {padding} must be smaller than the window, which is {window}x{window}"
            report.add(_span(pooling, f"Padding{axis}"), message)
        elif room < 0:
            report.add(_span(pooling, "Kind"), _no_room(pooling.from_tensor, shape, axis, window, padding))
        extents.append(room // 2 + 1)
    return Shape(shape.channels, *extents) if mistakes == len(report.diagnostics) else None


def _no_room(name: str, shape: Shape, axis: str, window: int, padding: int) -> str:
    """A window does not fit: say which way, and both sizes."""
    what, size = ("rows", shape.height) if axis == "H" else ("columns", shape.width)
    padded = f" with padding {padding} on both sides" if padding else ""
    return f"the window spans {window} {what}, more than the {size + 2 * padding} of {quote(name)} ({shape}){padded}"


def _span(layer: Layer, field: str) -> Span:
    """Where a field's value stands, or the node's kind if the field is not written."""
    assert layer.spans is not None, "the parser gives every node its spans"
    return layer.spans.fields.get(field, layer.spans.kind)
