"""What the passes share: who reads a tensor, and who writes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from nn512.ir import Op


def readers(ops: Sequence[Op]) -> Mapping[str, list[int]]:
    """For every tensor the numbers of the operations that read it, once for every time they do."""
    result: dict[str, list[int]] = defaultdict(list)
    for number, op in enumerate(ops):
        for name in op.tensors_read:
            result[name].append(number)
    return result


def writers(ops: Sequence[Op]) -> Mapping[str, int]:
    """For every tensor the number of the operation that writes it."""
    return {name: number for number, op in enumerate(ops) for name in op.tensors_written}
