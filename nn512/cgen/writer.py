"""The one object through which C text is written: it knows indentation, blocks and comments, and nothing about nets."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterable, Iterator

WIDTH = 120


class Writer:
    """Collects lines of C; `text()` is the result."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """Write one line at the current indentation; an empty one separates."""
        self._lines.append("    " * self._depth + text if text else "")

    def lines(self, text: str) -> None:
        """Write several lines, given as one text whose common indentation does not matter."""
        for line in textwrap.dedent(text).strip("\n").split("\n"):
            self.line(line)

    @contextlib.contextmanager
    def block(self, opening: str = "", closing: str = "}") -> Iterator[None]:
        """Write `opening {`, then what the body of the `with` writes, indented, then `closing`."""
        self.line(f"{opening} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.line(closing)

    @contextlib.contextmanager
    def indented(self) -> Iterator[None]:
        """Indent what the body of the `with` writes: the single statement of a loop without braces."""
        self._depth += 1
        yield
        self._depth -= 1

    def comment(self, text: str) -> None:
        """Write a comment, wrapped to the line width."""
        wrapped = textwrap.wrap(text, WIDTH - 4 * self._depth - 6)
        if len(wrapped) == 1:
            self.line(f"/* {wrapped[0]} */")
            return
        for number, line in enumerate(wrapped):
            opening = "/* " if number == 0 else " * "
            self.line(opening + line + (" */" if number == len(wrapped) - 1 else ""))

    def banner(self, lines: Iterable[str]) -> None:
        """Write a comment set off by rules, as before every layer; the lines are kept as they are."""
        rule = "-" * (WIDTH - 8)
        self.line(f"/* {rule}")
        for line in lines:
            self.line(f" * {line}".rstrip())
        self.line(f" * {rule} */")

    def statement(self, head: str, arguments: Iterable[str], tail: str) -> None:
        """Write `head(arguments)tail`, breaking between arguments where the line would grow too long."""
        opening = f"{head}("
        current = opening
        room = WIDTH - 4 * self._depth
        pieces = list(arguments)
        for number, argument in enumerate(pieces):
            piece = argument + ("," if number < len(pieces) - 1 else f"){tail}")
            if current != opening and len(current) + 1 + len(piece) > room:
                self.line(current)
                current = " " * len(opening) + piece
            else:
                current += piece if current == opening else f" {piece}"
        self.line(current if pieces else f"{opening}){tail}")

    def table(self, declaration: str, items: Iterable[str]) -> None:
        """Write `declaration = {items};`, on one line where it fits, else wrapped between items."""
        text = ", ".join(items)
        line = f"{declaration} = {{{text}}};"
        if len(line) + 4 * self._depth <= WIDTH:
            self.line(line)
            return
        self.line(f"{declaration} = {{")
        for wrapped in textwrap.wrap(text, WIDTH - 4 * self._depth - 4, break_long_words=False):
            self.line(f"    {wrapped}")
        self.line("};")

    def text(self) -> str:
        """Everything written so far, ending in a newline."""
        return "\n".join(self._lines) + "\n"
