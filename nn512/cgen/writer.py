"""The one object through which C text is written: it knows indentation, blocks and comments, and nothing about nets."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from nn512.cgen.expressions import Expression

WIDTH = 120


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


class Writer:
    """Collects lines of C; `text()` is the result."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """Write one line at the current indentation; an empty one separates. Directives begin in the first column."""
        self._lines.append("    " * self._depth + text if text and not text.startswith("#") else text)

    def lines(self, text: str) -> None:
        """Write several lines, given as one text whose common indentation does not matter."""
        for line in textwrap.dedent(text).strip("\n").split("\n"):
            self.line(line)

    @contextlib.contextmanager
    def block(self, opening: str = "", closing: str = "}", note: str = "") -> Iterator[None]:
        """Write `opening { /* note */`, then what the body of the `with` writes, indented, then `closing`."""
        self.line(f"{opening} {{".lstrip() + (f" /* {note} */" if note else ""))
        self._depth += 1
        yield
        self._depth -= 1
        self.line(closing)

    def assign(self, target: str, value: str) -> None:
        """Write `target = value;`, on two lines where one would be too long, or on three, cut behind a comma."""
        line = f"{target} = {value};"
        if len(line) + 4 * self._depth <= WIDTH:
            self.line(line)
            return
        self.line(f"{target} =")
        room = WIDTH - 4 * self._depth - 4
        if len(value) < room:
            self.line(f"    {value};")
            return
        cut = value.rindex(", ", 0, room) + 1
        self.line(f"    {value[:cut]}")
        self.line(f"        {value[cut + 1 :]};")

    @contextlib.contextmanager
    def loop(self, opening: str) -> Iterator[None]:
        """Write `opening` and, indented under it, the one statement that the body of the `with` writes."""
        self.line(opening)
        with self.indented():
            yield

    @contextlib.contextmanager
    def indented(self) -> Iterator[None]:
        """Indent what the body of the `with` writes: the single statement of a loop without braces."""
        self._depth += 1
        yield
        self._depth -= 1

    def nest(self, openings: Sequence[str], statements: Sequence[str]) -> None:
        """Write statements inside loops and conditions, without braces where one statement is all there is."""
        *outer, inner = openings or [""]
        with contextlib.ExitStack() as stack:
            for opening in outer:
                stack.enter_context(self.loop(opening))
            if len(statements) > 1 and inner:
                stack.enter_context(self.block(inner))
                inner = ""
            one_line = f"{inner} {statements[0]}"
            if inner and len(one_line) + 4 * self._depth <= WIDTH:
                self.line(one_line)
                return
            if inner:
                stack.enter_context(self.loop(inner))
            for statement in statements:
                self.line(statement)

    def comment(self, text: str) -> None:
        """Write a comment, wrapped to the line width."""
        wrapped = textwrap.wrap(text, WIDTH - 4 * self._depth - 6)
        if len(wrapped) == 1:
            self.line(f"/* {wrapped[0]} */")
            return
        for number, line in enumerate(wrapped):
            opening = "/* " if number == 0 else " * "
            self.line(opening + line + (" */" if number == len(wrapped) - 1 else ""))

    def banner(self, title: str, lines: Iterable[str]) -> None:
        """Write a comment set off by a rule that carries its title, as before every layer; long lines are wrapped."""
        self.line(f"/* ---- {title} {'-' * max(4, WIDTH - 11 - len(title))}")
        wrapped = [piece for line in lines for piece in textwrap.wrap(line, WIDTH - 6, subsequent_indent="  ")]
        for number, piece in enumerate(wrapped, 1):
            self.line(f" * {piece}" + (" */" if number == len(wrapped) else ""))

    def comment_with_table(self, text: str, rows: Iterable[str]) -> None:
        """Write a comment of wrapped text and, indented, rows that stay as they are."""
        wrapped = textwrap.wrap(text, WIDTH - 4 * self._depth - 6)
        lines = [*wrapped, *(f"    {row}" for row in rows)]
        for number, line in enumerate(lines):
            self.line(("/* " if number == 0 else " * ") + line + (" */" if number == len(lines) - 1 else ""))

    def enumeration(self, head: str, pieces: Iterable[str], tail: str) -> None:
        """Write `head`, the pieces with commas between them, and `tail`, wrapped between pieces."""
        glue = "\N{NO-BREAK SPACE}"  # wrap breaks at none
        text = head + ", ".join(piece.replace(" ", glue) for piece in pieces) + tail.replace(" ", glue)
        width = WIDTH - 4 * self._depth
        for line in textwrap.wrap(
            text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        ):
            self.line(line.replace(glue, " "))

    def statement(self, head: str, arguments: Iterable[Expression | str], tail: str) -> None:
        """Write `head(arguments)tail`, breaking between arguments where the line would grow too long.

        Further lines stand under the first argument, or are indented where that would leave them little room or take
        more lines.
        """
        opening = f"{head}("
        room = WIDTH - 4 * self._depth
        pieces = [str(argument) for argument in arguments]
        indented = self._wrapped(opening, pieces, tail, 8 if tail == " {" else 4)
        aligned = self._wrapped(opening, pieces, tail, len(opening))
        for line in aligned if len(opening) <= room // 4 and len(aligned) <= len(indented) else indented:
            self.line(line)

    def _wrapped(self, opening: str, pieces: Sequence[str], tail: str, indent: int) -> list[str]:
        """The lines of `opening` and pieces, the further ones indented."""
        lines, current = [], opening
        room = WIDTH - 4 * self._depth
        for number, piece in enumerate(pieces):
            closed = f"{piece}," if number < len(pieces) - 1 else f"{piece}){tail}"
            fresh = current == opening or not current.strip()
            if len(current) + (not fresh) + len(closed) > room:
                lines.append(current)
                current, fresh = " " * indent, True
            current += closed if fresh else f" {closed}"
        return [*lines, current if pieces else f"{opening}){tail}"]

    def table(self, declaration: str, items: Iterable[str]) -> None:
        """Write `declaration = {items};`, on one line where it fits, else wrapped between items."""
        pieces = list(items)
        line = f"{declaration} = {{{', '.join(pieces)}}};"
        if len(line) + 4 * self._depth <= WIDTH:
            self.line(line)
            return
        self.line(f"{declaration} = {{")
        with self.indented():
            current = ""
            for number, piece in enumerate(pieces):
                following = f"{piece}," if number < len(pieces) - 1 else piece
                if current and len(current) + 1 + len(following) + 4 * self._depth > WIDTH:
                    self.line(current)
                    current = ""
                current += f" {following}" if current else following
            self.line(current)
        self.line("};")

    def text(self) -> str:
        """Everything written so far, ending in a newline."""
        return "\n".join(self._lines) + "\n"
