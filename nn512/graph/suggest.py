"""Guesses what a misspelt word was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

_LONGEST_WORD = 64
_MOST_NAMES = 5000


def close_match(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` begins, or else is most like, or else the one that begins it; or None.

    For short lists of choices: the cost is one comparison each.
    """
    if len(word) > _LONGEST_WORD:
        return None
    meant = word.casefold()
    folded = {choice.casefold(): choice for choice in choices}
    begun = [c for c in folded if len(meant) >= 3 and c.startswith(meant)]
    alike = difflib.get_close_matches(meant, folded, n=1, cutoff=0.7)
    beginnings = [c for c in folded if len(c) >= 3 and meant.startswith(c)]
    return next((folded[c] for c in (*begun, *alike, *beginnings)), None)


def did_you_mean(guess: str | None) -> str:
    """The end of an error message that offers a guess."""
    return "" if guess is None else f"; did you mean {guess}?"


class NameIndex:
    """Finds names that are one edit (a letter added, lost, changed, or two swapped) or a change of case away.

    Every name is filed under itself with each one of its letters removed; two words one edit apart then share an entry,
    so a lookup costs the length of the word and not the number of names. Digits must agree: conv2 is no misspelt conv1.
    Beyond a few thousand names, or for very long ones, it finds nothing: there it would cost more than a hint is worth.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._entries: dict[tuple[str, str], str] = {}
        if len(names) > _MOST_NAMES:
            return
        for name in names:
            for key in self._keys(name):
                self._entries.setdefault(key, name)

    @staticmethod
    def _keys(word: str) -> Iterable[tuple[str, str]]:
        folded = word.casefold()
        if len(folded) > _LONGEST_WORD:
            return
        digits = "".join(filter(str.isdigit, folded))
        yield folded, digits
        if len(folded) > 1:  # a word of one letter resembles every other one
            for i in range(len(folded)):
                yield folded[:i] + folded[i + 1 :], digits

    def find(self, word: str) -> str | None:
        """A name close to `word`, or None."""
        return next((self._entries[key] for key in self._keys(word) if key in self._entries), None)
