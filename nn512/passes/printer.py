"""A program as text, one operation per line, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from nn512.graph.describe import describe
from nn512.graph.nodes import Add, BatchNorm
from nn512.passes.program import (
    SAMPLING,
    ConcatOp,
    ConvOp,
    CopyOp,
    ElementwiseOp,
    FullyConnectedOp,
    LoadOp,
    Op,
    PadOp,
    PoolOp,
    Program,
    RelayoutOp,
    SoftmaxOp,
    Step,
    StoreOp,
)


def format_program(program: Program) -> str:
    """Operations in the order in which they run, as `result shape = source -> what is done to it -> ...`.

    Batch norms in braces are part of the weights of the layer beside them. Concatenations written in place come last.
    """
    rows = [row for op in program.ops for row in _rows(op, program)]
    for joined in program.joined:
        first, second = joined.parts
        rows.append((f"{joined.writes} {program.shapes[joined.writes]}", f"{first}, {second} in place"))
    width = max((len(left) for left, _ in rows), default=0)
    return "".join(f"{left:<{width}} = {right}\n" for left, right in rows)


def _rows(op: Op, program: Program) -> Iterator[tuple[str, str]]:
    """Result and definition; a convolution has a row for each of its branches."""
    match op:
        case LoadOp():
            chain = ["the caller's"]
        case StoreOp():
            yield "the caller's", op.source
            return
        case ConvOp():
            for number, branch in enumerate(op.branches):
                layer = _with_norms(op.normalized, describe(branch.node), branch.folded)
                words = [op.source, *map(_word, op.prologue), layer, *map(_word, branch.epilogue)]
                together = "   (together with the one above)" if number else ""
                yield f"{branch.writes} {program.shapes[branch.writes]}", " -> ".join(words) + together
            return
        case FullyConnectedOp():
            chain = [op.source, _with_norms(op.normalized, describe(op.node), op.folded), *map(_word, op.epilogue)]
        case PoolOp():
            own = "every second row and column" if op.node.kind == SAMPLING else describe(op.node)
            chain = [op.source, *map(_word, op.prologue), own, *map(_word, op.epilogue)]
        case SoftmaxOp():
            chain = [op.source, describe(op.node)]
        case ElementwiseOp():
            chain = [op.source, *map(_word, op.steps)]
        case ConcatOp():
            chain = [", ".join(op.sources), f"Concat {op.node.to_tensor}"]
        case CopyOp():
            chain = [op.source, "copy"]
        case RelayoutOp():
            chain = [op.source, "channels to other lanes"]
        case PadOp():
            chain = [op.source, f"{op.rows} rows and {op.columns} columns of zeros on each side"]
        case _:
            assert_never(op)
    yield f"{op.writes} {program.shapes[op.writes]}", " -> ".join(chain)


def _word(step: Step) -> str:
    """A step; a sum is named with what is added, as passes may have swapped or renamed its operands."""
    if isinstance(step.node, Add):
        return f"Add {step.node.to_tensor} (+ {step.operand or 'itself'})"
    return describe(step.node)


def _with_norms(before: Sequence[BatchNorm], layer: str, after: Sequence[BatchNorm]) -> str:
    words = (*(f"{{{describe(node)}}}" for node in before), layer, *(f"{{{describe(node)}}}" for node in after))
    return " ".join(words)
