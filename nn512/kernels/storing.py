"""Which tensors are stored as pairs of bfloat16: those that nobody reads otherwise.

A layer that multiplies pairs rounds what it reads first, in a pass of its own. Where all readers of a tensor do that,
the layer that computes it rounds it when it stores it: the bits of all results are the same, the passes are spared, and
the tensor takes half the memory. Pairs are those of `paired_source`.

The layer must be one that can do that, and channels must fill pairs without gaps, as the kernels that read them are
told nothing of lanes that hold none. Readers with steps before the convolution need floats for these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nn512.ir import ConvOp, Op
from nn512.ir.decision import Decided, Decision, unheard
from nn512.kernels.interface import Choice, Kernel, Setting
from nn512.kernels.registry import kernels_of
from nn512.plan.laying import Laid
from nn512.plan.layout import LANES, Layout


class Storing(Decision):
    """How a tensor is stored that some layer reads as pairs of bfloat16."""

    PAIRS = "stored as pairs of bfloat16: all that read it do nothing but round it and multiply"
    KERNEL = "stored as floats: the kernel that computes it stores no pairs"
    PART = "stored as floats: it is part of another tensor, or that is part of it"
    LANES = "stored as floats: its channels leave gaps in pairs"
    STEPS = "stored as floats: something is done with it before it is rounded"
    OTHERS = "stored as floats: another layer multiplies floats"


def stored_as_pairs(
    laid: Laid, choices: Mapping[str, Choice], setting: Setting | None = None, decided: Decided = unheard
) -> frozenset[str]:
    """The tensors of a net, by their names, that are stored as pairs; `choices` are the kernels of its operations.

    With a `setting`, those that would be if only their readers had other kernels that there are for them. `decided`
    hears of each tensor that some layer reads as pairs.
    """
    program = laid.program
    places = {name for whole in program.joined for name in (*whole.parts, whole.writes)}
    places.update(name for view in program.views for name in (*view.sources, view.writes))
    readers: dict[str, list[Op]] = {}
    for op in laid.ops:
        for name in op.tensors_read:
            readers.setdefault(name, []).append(op)

    def kernels(op: Op) -> tuple[Kernel[Any], ...]:
        if setting is None:
            return (choices[op.name].kernel,)
        return tuple(kernel for kernel in kernels_of(op) if kernel.takes(op, setting))

    def storing(op: Op, tensor: str) -> Storing:
        if not (isinstance(op, ConvOp) and choices[op.name].kernel.writes_pairs):
            return Storing.KERNEL
        if tensor in places:
            return Storing.PART
        if not _pairs_up(laid.layouts[tensor]):
            return Storing.LANES
        if not all(_rounds(reader, tensor) for reader in readers[tensor]):
            return Storing.STEPS
        paired = all(any(kernel.reads_pairs for kernel in kernels(reader)) for reader in readers[tensor])
        return Storing.PAIRS if paired else Storing.OTHERS

    made = {
        tensor: storing(op, tensor)
        for op in laid.ops
        for tensor in op.tensors_written
        if any(kernel.reads_pairs for reader in readers.get(tensor, ()) for kernel in kernels(reader))
    }
    for decision in made.values():
        decided(decision)
    return frozenset(tensor for tensor, decision in made.items() if decision is Storing.PAIRS)


def _pairs_up(layout: Layout) -> bool:
    return layout.lanes == LANES and layout.regular and layout.channels % 2 == 0


def _rounds(op: Op, tensor: str) -> bool:
    """Whether an operation may do nothing with this tensor but round it and multiply."""
    return isinstance(op, ConvOp) and not op.prologue and op.source == tensor and op.tensors_read.count(tensor) == 1
