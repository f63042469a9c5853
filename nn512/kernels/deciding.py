"""What kernels of several kinds may decide; what is one's own stands beside it.

An enumeration for each question, with a member for every answer and every reason. Why a kernel cannot compute a layer
is what `Kernel.refuses` gives; everything else is told to `Context.decided` while the layer is emitted.
"""

from __future__ import annotations

from nn512.ir import Chain, ConvOp, FullyConnectedOp
from nn512.ir.decision import Decided, Decision


class Choosing(Decision):
    """What becomes of a kernel where there is a choice, beside its own reasons to refuse a layer."""

    CHEAPEST = "taken: the cheapest of those that are worth their error"
    FORCED = "taken: the user forces it"
    DEARER = "not taken: another one costs less"
    INEXACT = "not taken: it saves too little to be worth its error"
    OVERRULED = "not taken: the user forces another one"
    PLATFORM = "refused: it is for another platform"


class Narrowing(Decision):
    """Why the weights of a layer may not become narrower than floats."""

    WEIGHTS = "refused: the user keeps full weights"
    NORMALIZED = "refused: what a batch norm before it subtracts would have to match rounded weights"


class Packing(Decision):
    """What becomes part of the packed weights of a layer."""

    SHUFFLED = "weights are packed in the order of channels before a shuffle"
    BEFORE = "a batch norm before it is part of the weights"
    AFTER = "a batch norm after it is part of the weights"


class Chaining(Decision):
    """Where element-wise steps are done."""

    FIRST = "steps before it are a function of their own"
    READING = "steps before it are done on what is read, in registers"
    WRITING = "steps after it are done on results, in registers"


class Pairing(Decision):
    """What is stored as pairs of bfloat16."""

    STORED = "what it reads is stored as pairs"
    ROUNDED = "what it reads is rounded to pairs first"
    RESULT = "results are stored as pairs"


class Lanes(Decision):
    """How lanes without a channel are told from others."""

    LAST = "only the last block may have lanes without a channel"
    TABLE = "a table says how many lanes of each block hold channels"


def tell_packing(op: ConvOp | FullyConnectedOp, decided: Decided) -> None:
    """Tell what is part of the weights of a layer."""
    branches = op.branches if isinstance(op, ConvOp) else (op,)
    if op.shuffled is not None:
        decided(Packing.SHUFFLED)
    if op.normalized:
        decided(Packing.BEFORE)
    if any(branch.folded for branch in branches):
        decided(Packing.AFTER)


def tell_steps(decided: Decided, before: Chaining, reading: Chain, writing: Chain) -> None:
    """Tell where steps are done: those on what is read as `before` says, if there are some."""
    if reading:
        decided(before)
    if writing:
        decided(Chaining.WRITING)
