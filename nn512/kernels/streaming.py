"""The price of operations that do little more than read and write tensors, which is that of the bytes they move."""

from __future__ import annotations

from collections.abc import Iterable

from nn512.graph.graph import multiply_accumulates
from nn512.graph.nodes import Input, Output
from nn512.ir import Op
from nn512.kernels.chain import ChainCode
from nn512.kernels.interface import Setting
from nn512.plan.cost import Work
from nn512.plan.layout import Layout


def tensor_bytes(op: Op, setting: Setting) -> int:
    """Bytes of the tensors that an operation reads and writes."""
    return sum(setting.places[name].bytes for name in op.touched)


def defined_macs(op: Op, setting: Setting) -> int:
    """Multiply-accumulates of an operation, by the definitions of its nodes."""
    layers = (node for node in op.nodes if not isinstance(node, Input | Output))
    return sum(multiply_accumulates(node, setting.shapes) for node in layers)


def parameter_bytes(op: Op, layout: Layout) -> int:
    """Bytes of the parameters of the steps of an operation, for a tensor of this layout."""
    return sum(array.bytes for array in ChainCode(op.steps).fields(layout))


def streaming_work(op: Op, setting: Setting) -> Work:
    """What an operation without weights costs: its tensors, and the parameters of its steps."""
    weights = _parameters_of(op, setting)
    return Work(defined_macs(op, setting), 1.0, weights + op.bytes_from_caller, tensor_bytes(op, setting))


def _parameters_of(op: Op, setting: Setting) -> int:
    written: Iterable[str] = op.tensors_written
    return sum(parameter_bytes(op, setting.places[name].layout) for name in written)
