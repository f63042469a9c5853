"""What the compiler may decide about an operation, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias


class Decision(StrEnum):
    """What a pass, or the layout of tensors, may decide about an operation, and why: each has a class of its own.

    The tester counts which of them it has seen, and draws nets in which they are made.
    """


Decided: TypeAlias = Callable[[Decision], object]
"""Who hears of decisions while they are made."""


def unheard(decision: Decision) -> None:
    """Nobody hears."""
    del decision
