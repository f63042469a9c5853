"""Words about windows that move over a tensor: filters and pooling."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from nn512.graph.diagnostics import quote
from nn512.graph.node import Shape


class Sides(NamedTuple):
    """Rows and columns on the four sides of a picture, such as those of padding."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @property
    def rows(self) -> int:
        """Above and below."""
        return self.top + self.bottom

    @property
    def columns(self) -> int:
        """Left and right."""
        return self.left + self.right

    def around(self, shape: Shape) -> Shape:
        """The shape of a tensor of `shape` with these around it."""
        return Shape(shape.channels, shape.height + self.rows, shape.width + self.columns)

    def __str__(self) -> str:
        """In words: `1`, `1x0` where opposite sides agree, or all four."""
        if self.top == self.bottom and self.left == self.right:
            return pair(self.top, self.left)
        return f"{self.top} above, {self.bottom} below, {self.left} left, {self.right} right"


NO_SIDES = Sides()


class Padded(Protocol):
    """A node with padding."""

    @property
    def padding_top(self) -> int:
        """Rows above."""

    @property
    def padding_bottom(self) -> int:
        """Rows below."""

    @property
    def padding_left(self) -> int:
        """Columns left."""

    @property
    def padding_right(self) -> int:
        """Columns right."""


def padding_of(node: Padded) -> Sides:
    """The padding of a node, however it is spelled."""
    return Sides(node.padding_top, node.padding_bottom, node.padding_left, node.padding_right)


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
