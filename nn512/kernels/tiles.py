"""What all tile routines have in common: names of a layer's instances, words for edges, bounds of filter rows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar

from nn512.cgen.writer import Writer
from nn512.kernels.epilogue import Chain


class Tile(Hashable, Protocol):
    """What tells the tiles of one layer apart."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Blocks of outputs, rows and pixels, or fewer of these."""

    @property
    def edges(self) -> tuple[str, ...]:
        """Which ends hang over the picture, in words."""

    @property
    def chain(self) -> Chain:
        """What follows in registers."""


T = TypeVar("T", bound=Tile)


def instance_names(routines: Iterable[T]) -> dict[T, str]:
    """Names for one layer's instances of its routines: `tile`, and whatever tells them apart (`tile_2x13_left`)."""
    distinct = list(dict.fromkeys(routines))
    varying = [len(set(column)) > 1 for column in zip(*(routine.sizes for routine in distinct), strict=True)]
    edges = len({routine.edges for routine in distinct}) > 1
    chains = len({routine.chain for routine in distinct}) > 1
    result: dict[T, str] = {}
    taken: dict[str, int] = {}
    for routine in distinct:
        size = "x".join(str(extent) for extent, varies in zip(routine.sizes, varying, strict=True) if varies)
        words = [size, *(routine.edges if edges else ()), routine.chain.suffix.strip("_") if chains else ""]
        word = "_".join(["tile", *filter(None, words)])
        taken[word] = taken.get(word, 0) + 1
        result[routine] = word if taken[word] == 1 else f"{word}_{taken[word]}"
    return result


def edge_word(*, left: bool, right: bool, whole: bool) -> str:
    """Which ends of a tile hang over the picture; `part` where only some taps see none of it, "" for a `whole` one."""
    return "both" if left and right else "left" if left else "right" if right else "" if whole else "part"


def write_tap_bounds(writer: Writer, height: str, taps: int, dilation: int) -> None:
    """Write which filter rows are inside a picture of `height` rows if filter row 0 is on row `origin`."""
    above, below = "-origin", f"{height} - origin"
    if dilation > 1:
        above, below = (f"({rows} + {dilation - 1}) / {dilation}" for rows in (above, below))
    writer.line(f"const ptrdiff_t top = origin < 0 ? {above} : 0;")
    writer.line(f"const ptrdiff_t bottom = {below} < {taps} ? {below} : {taps};")
