"""Pixels that nobody reads are not computed.

Condition: all readers of a tensor are convolutions with a 1x1 filter, no padding and the same stride other than 1, and
it is no Output. Then it is thinned to the pixels they read, and they get stride 1. A convolution computes fewer pixels
by a larger stride. An element-wise operation needs fewer of what it reads pixel by pixel: that is thinned in turn if
nobody else reads it, and sampled otherwise: every second row and column is copied (for other strides there is no such
copy, and all stays as it is). A tensor is thinned only where that saves multiply-accumulates.

ResNet has such places, since its stages begin with strided 1x1 convolutions: of the last block of the stage before, all
but the first convolution is computed at a quarter of the pixels.
"""

from __future__ import annotations

import dataclasses
import heapq
from dataclasses import dataclass, field

from nn512.graph.graph import multiply_accumulates
from nn512.graph.nodes import MAX_GEOMETRY, Conv, Shape
from nn512.ir import ConvBranch, ConvOp, ElementwiseOp, Op, Program, SampleOp, Stride
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers

SAMPLING_STRIDE: Stride = (2, 2)


class Thinning(Decision):
    """What becomes of a tensor some of whose readers are strided convolutions with a 1x1 filter."""

    HALVED = "thinned to every second row and column"
    OTHERWISE = "thinned by another stride"
    SAMPLED = "copied to a smaller tensor, as something else reads all of it"
    STRIDES = "not thinned: its readers have different strides"
    WHOLE = "not thinned: something else reads all of it"
    FILTER = "not thinned: a strided reader has a larger filter"
    PADDING = "not thinned: a strided reader is padded"
    NO_SAMPLES = "not thinned: what it is computed from cannot be copied to a smaller tensor"
    NOTHING_SAVED = "not thinned: no multiply-accumulate would be saved"


def skip_unread(program: Program, decided: Decided = unheard) -> Program:
    """The program without the pixels that nobody reads."""
    thinning = _Thinning(program, decided)
    for number in reversed(range(len(program.ops))):  # backwards: what computes fewer pixels may read fewer of them
        thinning.try_from(number)
    return thinning.rewritten()


@dataclass(slots=True)
class _Attempt:
    """What thinning a tensor would change: operations by number, other tensors; and the multiply-accumulates saved."""

    stride: Stride
    ops: dict[int, Op] = field(default_factory=dict)
    tensors: set[str] = field(default_factory=set)
    saved: int = 0


class _Thinning:
    """The operations while tensors are thinned; `_strides` are those of the tensors that have been."""

    def __init__(self, program: Program, decided: Decided) -> None:
        self._program = program
        self._decided = decided
        self._ops = list(program.ops)
        self._readers = readers(program.ops)
        self._writer = writers(program.ops)
        self._strides: dict[str, Stride] = {}
        self._in_wholes = {name for whole in program.joined for name in (*whole.parts, whole.writes)}

    def try_from(self, number: int) -> None:
        """Thin the result of an operation, and what it is computed from, where that is possible and worth it."""
        name = _result(self._ops[number])
        if name is None or name in self._strides:
            return
        stride = self._common_stride(name, _Attempt((1, 1)))
        if stride is None or stride == (1, 1):
            return
        attempt = self._attempt(number, stride)
        if attempt is None:
            self._decided(Thinning.NO_SAMPLES)
        elif not attempt.saved:
            self._decided(Thinning.NOTHING_SAVED)
        else:
            self._decided(Thinning.HALVED if stride == SAMPLING_STRIDE else Thinning.OTHERWISE)
            for changed, op in attempt.ops.items():
                self._ops[changed] = op
            self._strides.update(dict.fromkeys(attempt.tensors, stride))

    def _attempt(self, root: int, stride: Stride) -> _Attempt | None:
        """Thin the result of an operation; None where something would have to be sampled for which there is no way.

        Operations are visited backwards, so that all readers of a tensor are settled before it is.
        """
        attempt = _Attempt(stride)
        waiting = [-root]
        while waiting:
            number = -heapq.heappop(waiting)
            if waiting and waiting[0] == -number:  # read by several of those that are thinned
                continue
            name = _result(self._ops[number])
            if name is None or self._common_stride(name, attempt) != stride or not self._thin(number, attempt):
                if stride != SAMPLING_STRIDE:
                    return None
                continue
            attempt.tensors.add(name)
            for reader in self._readers[name]:
                if _conv(self._ops[reader]) is not None:
                    attempt.ops[reader] = _with_stride(self._ops[reader], (1, 1))
            if isinstance(self._ops[number], ElementwiseOp):
                for source in self._read_by_pixel(self._ops[number]):
                    heapq.heappush(waiting, -self._writer[source])
        return attempt

    def _thin(self, number: int, attempt: _Attempt) -> bool:
        """Let an operation compute only what is read, unless it cannot."""
        op = self._ops[number]
        node = _conv(op)
        if node is None:
            known = all(source in self._writer for source in op.tensors_read)
            return known and all(step.may_follow for step in op.steps)
        stride = (node.stride_h * attempt.stride[0], node.stride_w * attempt.stride[1])
        if max(stride) > MAX_GEOMETRY:
            return False
        source, result = (self._program.shapes[name] for name in (node.from_tensor, node.to_tensor))
        smaller = {node.from_tensor: source, node.to_tensor: thinned_shape(result, attempt.stride)}
        attempt.saved += multiply_accumulates(node, self._program.shapes) - multiply_accumulates(node, smaller)
        attempt.ops[number] = _with_stride(op, stride)
        return True

    def _common_stride(self, name: str, attempt: _Attempt) -> Stride | None:
        """The distance between the pixels that every reader of a tensor reads; None where that is not one distance."""
        strides = {self._stride_of(number, name, attempt) for number in self._readers.get(name, ())}
        if len(strides) > 1:
            self._decided(Thinning.WHOLE if None in strides else Thinning.STRIDES)
        return strides.pop() if len(strides) == 1 and name not in self._in_wholes else None

    def _read_by_pixel(self, op: Op) -> tuple[str, ...]:
        """What an element-wise operation reads at the pixels that it computes; operands of one pixel are read whole."""
        whole = {operand for step in op.steps if step.may_precede for operand in step.operands}
        return tuple(name for name in op.tensors_read if name not in whole)

    def _stride_of(self, number: int, name: str, attempt: _Attempt) -> Stride | None:
        """The distance between the pixels of a tensor that an operation reads; None where it reads all, or may."""
        op = attempt.ops.get(number, self._ops[number])
        node = _conv(op)
        if node is not None and node.filter_h == node.filter_w == 1 and not node.is_padded:
            return node.stride_h, node.stride_w
        if node is not None and max(node.stride_h, node.stride_w) > 1:
            self._decided(Thinning.PADDING if node.filter_h == node.filter_w == 1 else Thinning.FILTER)
        if isinstance(op, ElementwiseOp) and name in self._read_by_pixel(op):
            return attempt.stride if op.writes in attempt.tensors else self._strides.get(op.writes)
        return None

    def rewritten(self) -> Program:
        """The program with what has been decided, and with the copies that takes."""
        if not self._strides:
            return self._program
        samples: dict[str, str] = {}
        for op in self._ops:
            if isinstance(op, ElementwiseOp) and op.writes in self._strides:
                samples.update({s: f"{s}_sampled" for s in self._read_by_pixel(op) if s not in self._strides})
        if samples:
            self._decided(Thinning.SAMPLED)
        shapes = dict(self._program.shapes)
        shapes.update({name: thinned_shape(shapes[name], stride) for name, stride in self._strides.items()})
        shapes.update({sample: thinned_shape(shapes[name], SAMPLING_STRIDE) for name, sample in samples.items()})
        ops: list[Op] = []
        for op in self._ops:
            thinned = isinstance(op, ElementwiseOp) and op.writes in self._strides
            ops.append(op.reading(samples) if thinned else op)
            # Here, so that a sum moves into the operation of its other operand, which is later.
            ops.extend(SampleOp(name, (), (), samples[name]) for name in op.tensors_written if name in samples)
        return dataclasses.replace(self._program, ops=tuple(ops), shapes=shapes, thinned=self._strides)


def thinned_shape(shape: Shape, stride: Stride) -> Shape:
    """The shape of a tensor of which the first row and column and every stride-th after them are left."""
    return Shape(shape.channels, -(-shape.height // stride[0]), -(-shape.width // stride[1]))


def _conv(op: Op) -> Conv | None:
    """The convolution of an operation that is nothing else."""
    match op:
        case ConvOp(prologue=(), branches=(ConvBranch(node=node, folded=(), epilogue=()),)):
            return node
        case _:
            return None


def _result(op: Op) -> str | None:
    """The result of an operation that could compute only a part of it."""
    return op.name if isinstance(op, ElementwiseOp) or _conv(op) is not None else None


def _with_stride(op: Op, stride: Stride) -> Op:
    assert isinstance(op, ConvOp)
    (branch,) = op.branches
    node = dataclasses.replace(branch.node, stride_h=stride[0], stride_w=stride[1])
    return dataclasses.replace(op, branches=(dataclasses.replace(branch, node=node),))


PASS = Pass("skip_unread", skip_unread, "pixels that nobody reads are not computed", Thinning)
