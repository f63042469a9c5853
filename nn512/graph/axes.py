"""The axes of a tensor, as fields name them."""

from __future__ import annotations

from typing import Any

from nn512.graph.fields import ValueType, declare
from nn512.graph.node import Shape

AXES = ("Channels", "Height", "Width")
"""In the order of a shape."""


def axis_field(doc: str) -> Any:  # noqa: ANN401 - as all declarations
    """The field Axis, channels by default."""
    return declare("Axis", ValueType.CHOICE, doc, AXES[0], choices=AXES, terse=True, kw_only=True)


def with_extent(shape: Shape, axis: str, extent: int) -> Shape:
    """The shape with another extent along one axis."""
    extents = list(shape)
    extents[AXES.index(axis)] = extent
    return Shape(*extents)


def extent_of(shape: Shape, axis: str) -> int:
    """The extent of a shape along an axis."""
    return shape[AXES.index(axis)]
