"""Words about windows that move over a tensor: filters and pooling."""

from __future__ import annotations

from nn512.graph.diagnostics import quote
from nn512.graph.node import Shape


def no_room(name: str, shape: Shape, axis: str, window: int, padding: int) -> str:
    """A window does not fit: say which way, and both sizes. `axis` is H or W."""
    what, size = ("rows", shape.height) if axis == "H" else ("columns", shape.width)
    padded = f" with padding {padding} on both sides" if padding else ""
    return f"the window spans {window} {what}, more than the {size + 2 * padding} of {quote(name)} ({shape}){padded}"


def pair(first: int, second: int) -> str:
    """Two numbers, or one where they agree: 2x1, 3."""
    return str(first) if first == second else f"{first}x{second}"
