"""Where in a net an output went wrong: the first of its layers that is at fault, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.judge.compare import Verdict
from nn512.plan.plan import PlannedLayer


@dataclass(frozen=True, slots=True)
class Place:
    """Layer `number` (from 1) of `total`; `why` it is this one. `verdict` is that on the tensor which it computes.

    `unseen` are layers in front of it that may be at fault as well: what they make cannot be compared.
    """

    layer: PlannedLayer
    number: int
    total: int
    why: str
    verdict: Verdict | None = None
    unseen: tuple[PlannedLayer, ...] = ()

    def __str__(self) -> str:
        nodes = ", ".join(
            node.node + (f" in line {node.line}" if node.line is not None else "") for node in self.layer.nodes
        )
        named = f" ({nodes})" if nodes else ""
        unseen = ", ".join(layer.name for layer in self.unseen)
        behind = f"; what {unseen} computes could not be compared" if unseen else ""
        return (
            f"{self.number} of {self.total}: {self.layer.name}{named}, kernel {self.layer.kernel}: {self.why}{behind}"
        )
