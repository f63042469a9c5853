"""Where a piece of a graph file stands: the text, spans in it, and line and column numbers for people."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import NamedTuple

_BLOCK = 4096


class Span(NamedTuple):
    """Half-open range of character offsets, `start` to `end`, in a source text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a graph file and the name errors call it by.

    Lines are looked up through the number of line breaks before every block of 4096 characters: a text of many
    millions of lines, which only an attacker writes, costs no more memory than any other.
    """

    text: str
    filename: str
    _breaks: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        breaks = [0]
        for start in range(0, len(self.text), _BLOCK):
            breaks.append(breaks[-1] + self.text.count("\n", start, start + _BLOCK))
        object.__setattr__(self, "_breaks", tuple(breaks))

    def line_number(self, offset: int) -> int:
        """Line of the character at `offset`, counted from 1."""
        block = min(offset // _BLOCK, len(self._breaks) - 1)
        return self._breaks[block] + self.text.count("\n", block * _BLOCK, offset) + 1

    def column_number(self, offset: int) -> int:
        """Column of the character at `offset` within its line, counted from 1."""
        return offset - self.text.rfind("\n", 0, offset)

    def line(self, number: int) -> str:
        """Text of line `number` (from 1) without its line break."""
        start = 0
        if number > 1:
            block = bisect.bisect_left(self._breaks, number - 1) - 1
            start = block * _BLOCK
            for _ in range(number - 1 - self._breaks[block]):
                start = self.text.index("\n", start) + 1
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
