"""Edge classes: the cases that the emitted code of a kernel has, declared beside the kernel under one scheme.

A family is one way in which that code differs, such as the tail of its last block of channels; a class is a family and
one of its values: `output tail 3`, or the name of the family alone for what is there or not. A kernel lists its
families (`Kernel.edges`), and every layer the classes it has (`LayerCode.edge_classes`). `nn512 fuzz --edges` looks
for a net for every class, and fails where one is declared and never verified, or emitted and not declared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nn512.plan.layout import LANES


@dataclass(frozen=True, slots=True)
class Edges:
    """A family of edge classes: its name, and the values that it has; none for what is there or not."""

    name: str
    values: tuple[int | str, ...] = ()

    def __call__(self, value: int | str | None = None) -> str:
        """The class of this value."""
        return self.name if value is None else f"{self.name} {value}"

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the family."""
        return tuple(map(self, self.values)) if self.values else (self.name,)


def tail(name: str) -> Edges:
    """The family of what is left over beyond whole vectors, 0 to 15."""
    return Edges(name, tuple(range(LANES)))


def classes_of(families: Iterable[Edges]) -> tuple[str, ...]:
    """All classes of several families, in order."""
    return tuple(name for family in families for name in family.classes)


CHANNEL_TAIL = tail("channel tail")
INPUT_TAIL = tail("input tail")
OUTPUT_TAIL = tail("output tail")
PIXEL_TAIL = tail("pixel tail")
SHUFFLED = Edges("inputs shuffled")
