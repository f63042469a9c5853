"""Wishes to nodes: `grow` bends whatever would be illegal or too large into the nearest legal thing."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.draw.grower import Grower, Style
from fuzz.draw.kinds import SIMPLEST, Wish
from nn512.graph import Node, Shape

PLAIN = Style()


def grow(first: Shape, wishes: Sequence[Wish], style: Style = PLAIN) -> tuple[Node, ...]:
    """The nodes of a legal graph: an input of about shape `first`, then what the wishes ask for, then outputs."""
    grower = Grower(style)
    grower.add_input(first)
    for wish in wishes:
        wish.grow(grower)
    if not grower.has_layers:
        SIMPLEST.grow(grower)
    return grower.finish()
