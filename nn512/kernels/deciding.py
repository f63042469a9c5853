"""What kernels of several kinds may decide; what is one's own stands beside it.

An enumeration for each question, with a member for every answer and every reason. Why a kernel cannot compute a layer
is what `Kernel.refuses` gives; everything else is told to `Context.decided` while the layer is emitted.
"""

from __future__ import annotations

from nn512.ir.decision import Decision


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
