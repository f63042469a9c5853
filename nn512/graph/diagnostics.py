"""What is wrong with a graph file, where, and how to show it: messages with the source line and a caret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from nn512.errors import Nn512Error
from nn512.graph.source import Source, Span

MOST_SHOWN = 100
"""Diagnostics that an error's text shows; the rest are only counted."""

MOST_MISTAKES = 1000
"""After so many errors the text is no graph, and looking for more helps nobody."""

_WIDTH = 120  # characters of a source line that are shown; longer lines are cut around the caret
_BEFORE = 40  # characters kept before the caret when a line is cut
_LONGEST_QUOTE = 40


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake in a graph text."""

    message: str
    span: Span
    source: Source = field(repr=False)

    @property
    def filename(self) -> str:
        """The name the text goes by."""
        return self.source.filename

    @property
    def line(self) -> int:
        """Line of the mistake, from 1."""
        return self.source.line_number(self.span.start)

    @property
    def column(self) -> int:
        """Column of the mistake in characters, from 1."""
        return self.source.column_number(self.span.start)

    @property
    def source_line(self) -> str:
        """The whole line that holds the mistake."""
        return self.source.line(self.line)

    def __str__(self) -> str:
        """Three lines: where and what, the source line, the caret."""
        column = self.column
        text = self.source_line
        start = column - 1
        length = max(1, min(self.span.end - self.span.start, len(text) - start))
        head = tail = ""
        if len(text) > _WIDTH:
            begin = max(0, min(start - _BEFORE, len(text) - _WIDTH))
            head = "..." if begin else ""
            tail = "..." if begin + _WIDTH < len(text) else ""
            text = text[begin : begin + _WIDTH]
            start -= begin
            length = max(1, min(length, len(text) - start))
        # A tab in the line is repeated under it, so the caret lines up whatever a tab's width is.
        indent = " " * len(head) + "".join("\t" if c == "\t" else " " for c in text[:start])
        where = f"{visible(self.filename)}:{self.line}:{column}"
        return (
            f"{where}: error: {self.message}\n"
            f"  {head}{visible(text)}{tail}\n"
            f"  {indent.ljust(start + len(head))}^{'~' * (length - 1)}"
        )


class GraphError(Nn512Error):
    """A graph text has mistakes; `diagnostics` are all of them, sorted by position."""

    exit_code = 2

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: d.span))
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        shown = [str(d) for d in self.diagnostics[:MOST_SHOWN]]
        hidden = len(self.diagnostics) - len(shown)
        if hidden:
            shown.append(f"... and {hidden} more {'error' if hidden == 1 else 'errors'}")
        return "\n".join(shown)


class HopelessTextError(Exception):
    """Looking for more mistakes helps nobody; the diagnostics say why. Never leaves nn512.graph."""


class Diagnostics:
    """Collects the mistakes of one text while it is read and checked."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []

    def add(self, span: Span, message: str) -> None:
        """Note a mistake at `span`. Raises HopelessTextError when there are too many."""
        self.diagnostics.append(Diagnostic(message, span, self.source))
        if len(self.diagnostics) >= MOST_MISTAKES:
            self.give_up(self.end(), f"stopped looking after {MOST_MISTAKES:,} errors")

    def give_up(self, span: Span, message: str) -> NoReturn:
        """Note a last mistake and raise HopelessTextError."""
        self.diagnostics.append(Diagnostic(message, span, self.source))
        raise HopelessTextError

    def end(self) -> Span:
        """The place behind the last thing in the text, where something that is missing could have stood."""
        end = len(self.source.text.rstrip())
        return Span(end, end)

    def line(self, span: Span) -> int:
        """Line on which `span` begins, for messages that point at a second place."""
        return self.source.line_number(span.start)


def visible(text: str) -> str:
    """`text` with control characters and broken bytes replaced one for one, so that no terminal obeys or drops them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)


def quote(word: str) -> str:
    """A word of the user between quotation marks, shortened where it is long."""
    if len(word) > _LONGEST_QUOTE:
        word = word[: _LONGEST_QUOTE - 3] + "..."
    return f"'{visible(word)}'"


def join(phrases: Sequence[str]) -> str:
    """Phrases as one: `a, b and c`."""
    *initial, last = phrases
    return f"{', '.join(initial)} and {last}" if initial else last


def quote_list(words: Sequence[str], most: int = 8) -> str:
    """Several quoted words as a phrase: `'a', 'b' and 'c'`, or `'a', 'b' and 7 more`."""
    if len(words) > most:
        return join([*map(quote, words[: most - 1]), f"{len(words) - most + 1} more"])
    return join([*map(quote, words)])
