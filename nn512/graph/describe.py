"""Graph nodes in words, for the comments of emitted layers."""

from __future__ import annotations

from typing import assert_never

from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Input,
    Layer,
    Output,
    Pooling,
    Softmax,
)


def describe(node: Layer | Input | Output) -> str:
    """One node in a few words: kind, the tensor it produces, what is not the default."""
    match node:
        case Input():
            return f"Input {node.to_tensor}"
        case Output():
            return f"Output {node.from_tensor}"
        case Conv():
            return f"Conv {node.to_tensor} ({', '.join(_conv_details(node))})"
        case Pooling():
            padding = f", padding {_pair(node.padding_h, node.padding_w)}" if node.padding_h or node.padding_w else ""
            return f"Pooling {node.to_tensor} ({node.kind}{padding})"
        case Activation():
            return f"{node.kind} {node.to_tensor}" + (f" (slope {node.param:g})" if node.param else "")
        case FullyConnected() | BatchNorm() | Softmax():
            return f"{type(node).__name__} {node.to_tensor}"
        case Add() | Concat():
            return f"{type(node).__name__} {node.to_tensor} ({node.from_tensor1}, {node.from_tensor2})"
        case _:
            assert_never(node)


def _conv_details(node: Conv) -> list[str]:
    details = [f"{node.filter_h}x{node.filter_w}"]
    if (node.stride_h, node.stride_w) != (1, 1):
        details.append(f"stride {_pair(node.stride_h, node.stride_w)}")
    if node.padding_h or node.padding_w:
        details.append(f"padding {_pair(node.padding_h, node.padding_w)}")
    if (node.dilation_h, node.dilation_w) != (1, 1):
        details.append(f"dilation {_pair(node.dilation_h, node.dilation_w)}")
    if node.groups > 1:
        details.append(f"{node.groups} groups")
    return details


def _pair(first: int, second: int) -> str:
    return str(first) if first == second else f"{first}x{second}"
