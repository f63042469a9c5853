"""What all tile routines have in common: words for edges, bounds of filter rows."""

from __future__ import annotations

from nn512.cgen.writer import Writer


def edge_word(*, left: bool, right: bool, whole: bool) -> str:
    """Which ends of a tile hang over the picture; `part` where only some taps see none of it, "" for a `whole` one."""
    return "both" if left and right else "left" if left else "right" if right else "" if whole else "part"


def write_tap_bounds(writer: Writer, height: str, taps: int, dilation: int) -> None:
    """Write which filter rows are inside a picture of `height` rows if filter row 0 is on row `origin`."""
    above, below = "-origin", f"{height} - origin"
    if dilation > 1:
        above, below = (f"({rows} + {dilation - 1}) / {dilation}" for rows in (above, below))
    bounds = [f"top = origin < 0 ? {above} : 0", f"bottom = {below} < {taps} ? {below} : {taps}"]
    writer.enumeration("const ptrdiff_t ", bounds, ";")
