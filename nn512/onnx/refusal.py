"""What an import cannot take, and how all of it is told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nn512.errors import UsageError
from nn512.graph.diagnostics import visible

MOST_TOLD = 2000
"""Nodes that one message lists; the counts by operator are always complete."""

_PARTS = "--from TENSOR and --to TENSOR import the part between"


class RefusedError(Exception):
    """A node cannot be read: `what` is at fault, `accepted` would be taken. Never leaves nn512.onnx.

    `soft` ones say that a tensor is not arranged as it should be, which may be the fault of a node before this one.
    """

    def __init__(self, what: str, accepted: str, *, soft: bool = False) -> None:
        super().__init__(what)
        self.what, self.accepted, self.soft = what, accepted, soft


@dataclass(frozen=True, slots=True)
class Refusal:
    """One node, input or output of a model that the language cannot say. `module` is where PyTorch has the node."""

    operator: str
    name: str
    what: str
    accepted: str
    module: str = ""

    def __str__(self) -> str:
        name = f" {visible(self.name)!r}" if self.name else ""
        module = f" of module {visible(self.module)!r}" if self.module else ""
        return f"{self.operator}{name}{module}: {visible(self.what)}; accepted: {self.accepted}"


class UnsupportedError(UsageError):
    """A model is sound, and holds what the language cannot say; `refusals` are all of it, in the model's order.

    `advice` says how to import a part of it.
    """

    def __init__(self, origin: str, refusals: Sequence[Refusal], advice: str = _PARTS) -> None:
        self.refusals = tuple(refusals)
        counts = Counter(refusal.operator for refusal in refusals)
        listed = [f"  {refusal}" for refusal in refusals[:MOST_TOLD]]
        if len(refusals) > MOST_TOLD:
            listed.append(f"  ... and {len(refusals) - MOST_TOLD} more")
        total = ", ".join(f"{number} {operator}" for operator, number in counts.most_common())
        head = f"{visible(origin)!r} holds what the graph language has no words for, {len(refusals)} in all:"
        hint = f"{advice}; nn512 doc onnx tells what is read."
        super().__init__("\n".join([head, *listed, f"by operator: {total}", hint]))
