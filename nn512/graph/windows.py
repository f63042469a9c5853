"""Words about windows that move over a tensor: filters and pooling."""

from __future__ import annotations

from nn512.graph.diagnostics import quote
from nn512.graph.node import Shape


def no_room(name: str, shape: Shape, axis: str, window: int, before: int, after: int) -> str:
    """A window does not fit: say which way, and both sizes. `axis` is H or W, the padding that of its two ends."""
    what, size, ends = ("rows", shape.height, ("above", "below"))
    if axis == "W":
        what, size, ends = ("columns", shape.width, ("left", "right"))
    padded = ""
    if before == after > 0:
        padded = f" with padding {before} on both sides"
    elif before != after:
        padded = f" with padding {before} {ends[0]} and {after} {ends[1]}"
    room = size + before + after
    return f"the window spans {window} {what}, more than the {room} of {quote(name)} ({shape}){padded}"


def pair(first: int, second: int) -> str:
    """Two numbers, or one where they agree: 2x1, 3."""
    return str(first) if first == second else f"{first}x{second}"
