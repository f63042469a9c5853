"""What the passes share: who reads a tensor, who writes it, and renaming."""

from __future__ import annotations

import dataclasses
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import assert_never

from nn512.passes.program import (
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
    SoftmaxOp,
    Step,
    StoreOp,
    tensors_read,
    tensors_written,
)


def readers(ops: Sequence[Op]) -> Mapping[str, list[int]]:
    """For every tensor the numbers of the operations that read it, once for every time they do."""
    result: dict[str, list[int]] = defaultdict(list)
    for number, op in enumerate(ops):
        for name in tensors_read(op):
            result[name].append(number)
    return result


def writers(ops: Sequence[Op]) -> Mapping[str, int]:
    """For every tensor the number of the operation that writes it."""
    return {name: number for number, op in enumerate(ops) for name in tensors_written(op)}


def nearest_single(value: float) -> float:
    """The float32 nearest to a number; the language allows none that would overflow."""
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest


def rename_steps(steps: Sequence[Step], names: Mapping[str, str]) -> tuple[Step, ...]:
    """The steps with the operands of additions renamed."""
    return tuple(s if s.operand is None else Step(s.node, names.get(s.operand, s.operand)) for s in steps)


def rename_read(op: Op, names: Mapping[str, str]) -> Op:
    """The operation with the tensors it reads renamed."""
    match op:
        case LoadOp():
            return op
        case ConvOp():
            branches = tuple(dataclasses.replace(b, epilogue=rename_steps(b.epilogue, names)) for b in op.branches)
            prologue = rename_steps(op.prologue, names)
            return dataclasses.replace(op, source=_new(op.source, names), prologue=prologue, branches=branches)
        case FullyConnectedOp():
            epilogue = rename_steps(op.epilogue, names)
            return dataclasses.replace(op, source=_new(op.source, names), epilogue=epilogue)
        case PoolOp():
            prologue, epilogue = rename_steps(op.prologue, names), rename_steps(op.epilogue, names)
            return dataclasses.replace(op, source=_new(op.source, names), prologue=prologue, epilogue=epilogue)
        case ElementwiseOp():
            return dataclasses.replace(op, source=_new(op.source, names), steps=rename_steps(op.steps, names))
        case ConcatOp():
            first, second = (_new(name, names) for name in op.sources)
            return dataclasses.replace(op, sources=(first, second))
        case StoreOp() | SoftmaxOp() | CopyOp() | RelayoutOp() | PadOp():
            return dataclasses.replace(op, source=_new(op.source, names))
        case _:
            assert_never(op)


def _new(name: str, names: Mapping[str, str]) -> str:
    return names.get(name, name)
