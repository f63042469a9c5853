"""Which chunks of a campaign are done, under way and still to come: all that is needed to go on with it later.

Chunks have numbers: files of the corpus come first, then chunks of random cases. A shard has every so-manieth of them.
A chunk that was begun has a position, the number of its cases that are counted: whoever goes on with it draws these
again, which takes no time, and checks the others.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from nn512.errors import UsageError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of a campaign that is divided into `of` parts."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that a user writes as 3/8. Raises UsageError."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard takes a number and how many there are, such as 3/8, not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Shard()
"""A campaign that is not divided."""


@dataclass(order=True, slots=True)
class Piece:
    """A chunk that was begun: its number, its cases that are counted, and the workers that died of the next one."""

    number: int
    position: int = 0
    deaths: int = 0


@dataclass(slots=True)
class Ledger:
    """Hands out chunks, and knows which are out.

    `count` is how many chunks the campaign has, of all shards, or None for a campaign that only time ends.
    """

    count: int | None
    shard: Shard = WHOLE
    handed_out: int = 0
    _waiting: list[Piece] = field(default_factory=list)
    _out: list[Piece] = field(default_factory=list)

    @classmethod
    def resumed(cls, count: int | None, shard: Shard, handed_out: int, begun: Iterable[Piece]) -> Ledger:
        """The ledger of a campaign that ended early; of the chunks handed out those in `begun` are not done."""
        ledger = cls(count, shard, handed_out)
        for piece in begun:
            ledger.give_back(piece)
        return ledger

    @property
    def begun(self) -> list[Piece]:
        """Chunks that were begun and are not done."""
        return sorted([*self._waiting, *self._out])

    @property
    def all_done(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.begun and self._next() is None

    def _next(self) -> int | None:
        number = self.shard.number - 1 + self.handed_out * self.shard.of
        return None if self.count is not None and number >= self.count else number

    def take(self) -> Piece | None:
        """The next chunk to work on, those that somebody gave back first; None when there are no more."""
        if self._waiting:
            piece = heapq.heappop(self._waiting)
        else:
            number = self._next()
            if number is None:
                return None
            self.handed_out += 1
            piece = Piece(number)
        self._out.append(piece)
        return piece

    def done(self, piece: Piece) -> None:
        """All cases of a chunk are counted."""
        self._out.remove(piece)

    def give_back(self, piece: Piece) -> None:
        """Somebody else goes on with a chunk."""
        if piece in self._out:
            self._out.remove(piece)
        heapq.heappush(self._waiting, piece)
