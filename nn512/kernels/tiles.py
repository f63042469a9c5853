"""What all tile routines have in common: words for edges, bounds of filter rows."""

from __future__ import annotations

from nn512.cgen.expressions import ZERO, Conditional, Expression, Less, Name, least
from nn512.cgen.writer import Writer


def edge_word(*, left: bool, right: bool, whole: bool) -> str:
    """Which ends of a tile hang over the picture; `part` where only some taps see none of it, "" for a `whole` one."""
    return "both" if left and right else "left" if left else "right" if right else "" if whole else "part"


def write_tap_bounds(writer: Writer, height: Expression, taps: int, dilation: int) -> None:
    """Write which filter rows are inside a picture of `height` rows if filter row 0 is on row `origin`."""
    origin = Name("origin")
    above, below = ((rows + (dilation - 1)) // dilation for rows in (-origin, height - origin))
    top = Conditional(Less(origin, ZERO), above, ZERO)
    writer.enumeration("const ptrdiff_t ", [f"top = {top}", f"bottom = {least(below, taps)}"], ";")
