"""Which tensors are stored as pairs of bfloat16: those that nobody reads otherwise.

A layer that multiplies pairs rounds what it reads first, in a pass of its own. Where all readers of a tensor do that,
the layer that computes it rounds it when it stores it: the bits of all results are the same, the passes are spared, and
the tensor takes half the memory. Pairs are those of `paired_source`.

The layer must be one that can do that, and channels must fill pairs without gaps, as the kernels that read them are
told nothing of lanes that hold none. Readers with steps before the convolution need floats for these.
"""

from __future__ import annotations

from collections.abc import Mapping

from nn512.ir import ConvOp, Op
from nn512.kernels.interface import Choice
from nn512.plan.laying import Laid
from nn512.plan.layout import LANES, Layout


def stored_as_pairs(laid: Laid, choices: Mapping[str, Choice]) -> frozenset[str]:
    """The tensors of a net, by their names, that are stored as pairs; `choices` are the kernels of its operations."""
    program = laid.program
    places = {name for whole in program.joined for name in (*whole.parts, whole.writes)}
    places.update(name for view in program.views for name in (*view.sources, view.writes))
    readers: dict[str, list[Op]] = {}
    for op in laid.ops:
        for name in op.tensors_read:
            readers.setdefault(name, []).append(op)
    return frozenset(
        branch.writes
        for op in laid.ops
        if isinstance(op, ConvOp) and choices[op.name].kernel.writes_pairs
        for branch in op.branches
        if branch.writes not in places
        and branch.writes in readers
        and _pairs_up(laid.layouts[branch.writes])
        and all(_reads_pairs(reader, branch.writes, choices) for reader in readers[branch.writes])
    )


def _pairs_up(layout: Layout) -> bool:
    return layout.lanes == LANES and layout.regular and layout.channels % 2 == 0


def _reads_pairs(op: Op, tensor: str, choices: Mapping[str, Choice]) -> bool:
    """Whether an operation rounds this tensor, and does nothing else with it."""
    if not isinstance(op, ConvOp) or not choices[op.name].kernel.reads_pairs or op.prologue:
        return False
    return op.source == tensor and op.tensors_read.count(tensor) == 1
