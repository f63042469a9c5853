"""Programs of small nets before any pass, and what their operations are."""

from __future__ import annotations

from nn512.graph import Activation, Config, Conv, Input, Node, Output, build
from nn512.ir import LoadOp, Op, Program, StoreOp
from nn512.passes.lower import lower


def program(*nodes: Node, channels: int = 8, size: int = 6) -> Program:
    """Lowered: an input x, these nodes."""
    return lower(build([Config(), Input("x", channels, size, size), *nodes]))


def kinds(done: Program) -> list[str]:
    """Kinds of the operations besides loads and stores, in order."""
    return [type(op).__name__.removesuffix("Op") for op in done.ops if not isinstance(op, LoadOp | StoreOp)]


def only(done: Program, kind: type[Op]) -> Op:
    (found,) = (op for op in done.ops if isinstance(op, kind))
    return found


def relu(source: str, to: str, slope: float = 0.0) -> Activation:
    return Activation(source, to, "ReLU", slope)


def conv(
    source: str, to: str, padding: int = 0, taps: int = 1, *, stride_h: int = 1, dilation_w: int = 1, groups: int = 1
) -> Conv:
    return Conv(source, to, 8, taps, taps, stride_h, 1, padding, padding, 1, dilation_w, groups)


def names(op: Op) -> list[str]:
    """What an operation computes, by the tensors of its nodes."""
    return [node.from_tensor if isinstance(node, Output) else node.to_tensor for node in op.nodes]
