"""Which pixels a layer computes and reads, in words, where they are not those of the graph."""

from __future__ import annotations

from nn512.graph.nodes import Conv
from nn512.ir import ConvOp, Op, Program, Stride


class Pixels:
    """What to say about the pixels of a program's operations."""

    def __init__(self, program: Program) -> None:
        self._thinned = program.thinned
        convs = (layer for layer in program.graph.layers if isinstance(layer, Conv))
        self._strides = {conv.to_tensor: (conv.stride_h, conv.stride_w) for conv in convs}

    def of(self, op: Op) -> str:
        """A phrase for an operation whose results, or whose strides, are not those of the graph; else nothing."""
        written = op.tensors_written
        thinned = [name for name in written if name in self._thinned]
        if thinned:
            which = every(self._thinned[thinned[0]])
            of = f" of {', '.join(thinned)}" if len(thinned) < len(written) else ""
            return f"{which}{of} only: nothing reads the others"
        if isinstance(op, ConvOp):
            node = op.branches[0].node
            stride = self._strides[node.to_tensor]
            if stride != (node.stride_h, node.stride_w):
                return f"stride {_times(stride)} in the graph: the pixels between are not there to be read"
        return ""


def every(stride: Stride) -> str:
    """Such as "every second row and column"."""
    rows, columns = stride
    if rows == columns:
        return f"every {_ordinal(rows)} row and column"
    both = ((rows, "row"), (columns, "column"))
    return " of ".join(f"every {_ordinal(step)} {what}" for step, what in both if step > 1)


def _times(stride: Stride) -> str:
    return str(stride[0]) if stride[0] == stride[1] else f"{stride[0]}x{stride[1]}"


def _ordinal(number: int) -> str:
    words = {2: "second", 3: "third"}
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return words.get(number, f"{number}{ending}")
