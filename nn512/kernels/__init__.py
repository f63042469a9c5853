"""One module per algorithm: each emits the C of a layer, packs its weights and names the edge cases it has.

`emit_layer` picks the module for an operation, `shared_bodies` finds those whose functions are the same but for names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from nn512.ir import (
    ConcatOp,
    ConvOp,
    CopyOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    Op,
    PadOp,
    PoolOp,
    RelayoutOp,
    SampleOp,
    SoftmaxOp,
    StoreOp,
)
from nn512.kernels import border, copying, elementwise, fully_connected, pooling, softmax
from nn512.kernels.layer import Candidates, Context, LayerCode, Library, Sharing


def shared_bodies(ops: Iterable[Op], context: Context) -> Mapping[str, Sharing]:
    """The step functions that have the same body as others, by their names, and what those that share it differ in."""
    candidates = Candidates()
    context = dataclasses.replace(context, library=Library(), candidates=candidates)
    for op in ops:
        if isinstance(op, ConvOp | ElementwiseOp):
            emit_layer(op, context)
    return candidates.shared()


def emit_layer(op: Op, context: Context) -> LayerCode:
    """The emitted layer for one operation."""
    match op:
        case LoadOp():
            return border.emit_load(op, context)
        case StoreOp():
            return border.emit_store(op, context)
        case ConvOp():
            choice = context.choices[op.branches[0].writes]
            code = choice.kernel.emit(op, context)
            return dataclasses.replace(code, prices=choice.prices, forced=choice.forced)
        case FullyConnectedOp():
            return fully_connected.emit(op, context)
        case PoolOp() | SampleOp():
            return pooling.emit(op, context)
        case SoftmaxOp():
            return softmax.emit(op, context)
        case ElementwiseOp():
            return elementwise.emit(op, context)
        case ConcatOp():
            return copying.emit_concat(op, context)
        case CopyOp():
            return copying.emit_copy(op, context)
        case RelayoutOp():
            return copying.emit_relayout(op, context)
        case PadOp():
            return copying.emit_pad(op, context)
        case _:
            raise TypeError(op)
