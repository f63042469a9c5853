"""The grid of tiles of an algorithm that computes several outputs together, and which of them are at the edges."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.plan.conv_geometry import Axis


@dataclass(frozen=True, slots=True)
class GridAxis:
    """Tiles along one axis: each computes `outputs` results from a window of `window` inputs."""

    axis: Axis
    outputs: int
    window: int

    @property
    def count(self) -> int:
        """Number of tiles."""
        return -(-self.axis.out // self.outputs)

    @property
    def overhang(self) -> int:
        """Results of the last tile that lie outside the picture."""
        return self.count * self.outputs - self.axis.out

    @property
    def whole(self) -> int:
        """Tiles, the first ones, all of whose results are in the picture."""
        return self.axis.out // self.outputs

    @property
    def inside(self) -> range:
        """Tiles whose windows are in the picture as a whole."""
        step = self.outputs * self.axis.stride
        first = -(-self.axis.before // step)
        last = (self.axis.size - self.window + self.axis.before) // step  # -1 or less where there is none
        return range(first, max(first, min(last + 1, self.count)))


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The grid of tiles over a picture, row by row."""

    rows: GridAxis
    columns: GridAxis

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.rows.count * self.columns.count

    @property
    def ragged(self) -> bool:
        """Whether some results lie outside the picture."""
        return bool(self.rows.overhang or self.columns.overhang)

    @property
    def inside(self) -> int:
        """Number of tiles whose windows are in the picture as a whole."""
        return len(self.rows.inside) * len(self.columns.inside)

    @property
    def overhanging(self) -> int:
        """Number of tiles some of whose results lie outside the picture; one in a corner counts once."""
        return self.count - self.rows.whole * self.columns.whole

    @property
    def words(self) -> str:
        """How many tiles there are, and how many of them overhang by how much: `64 tiles, 15 of them overhang ...`."""
        tiles = f"{self.count:,} {_plural('tile', self.count)}"
        if not self.ragged:
            return tiles
        many = self.overhanging
        verb = "overhangs" if many == 1 else "overhang"
        which = "which" if self.count == 1 else f"{'all' if many == self.count else f'{many:,}'} of them"
        return f"{tiles}, {which} {verb} by {self._excess}"

    @property
    def _excess(self) -> str:
        """By how many rows and columns tiles overhang."""
        rows, columns = self.rows.overhang, self.columns.overhang
        link = "and" if self.count == 1 else "or"
        if rows == columns:
            return f"{rows} {_plural('row', rows)} {link} {_plural('column', rows)}"
        parts = ((rows, "row"), (columns, "column"))
        return f" {link} ".join(f"{number} {_plural(word, number)}" for number, word in parts if number)


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"
