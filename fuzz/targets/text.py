"""What is code in emitted C, and where its statements and functions begin: found by characters, without a parser."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from functools import cached_property

_NO_CODE = re.compile(
    r"/\*.*?\*/"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|^[ \t]*#[ \t]*ifdef \w+_PROFILE$.*?^[ \t]*#[ \t]*(?:endif|else)\b[^\n]*"
    r"|^[ \t]*#(?:\\\n|[^\n])*",
    re.DOTALL | re.MULTILINE,
)
"""Comments, strings, what only profiles have, and lines of the preprocessor with those that continue them."""

_SECTION = re.compile(r"^/\* -{4} (?P<title>.+?) (?:  \(graph lines? [^)]*\) )?-{4,}", re.MULTILINE)
"""The line above every part of the file."""

_FUNCTION = re.compile(r"^(?!typedef|struct|enum|union)\w[\w *]*?\b(?P<name>\w+)\([^;{}]*\) \{$", re.MULTILINE)
"""The head of a function, to its brace at the end of a line."""

_HEAD = re.compile(r"\s*(?:else\b|(?:(?:UNROLL|ROLLED)\s+)?(?:if|for|while)\s*(?=\())")
"""What stands before a statement that it may or may not reach."""


@dataclass(frozen=True)
class Text:
    """A source. Positions are offsets of characters."""

    source: str

    @cached_property
    def code(self) -> str:
        """The source with spaces for all that is no code; every position and line is where it was."""
        return _NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), self.source)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.source))]

    def line_of(self, position: int) -> int:
        """The number of the line, from 1."""
        return bisect.bisect_right(self._line_starts, position)

    def line_span(self, line: int) -> tuple[int, int]:
        """Where a line begins, and where the next one does."""
        starts = self._line_starts
        return starts[line - 1], starts[line] if line < len(starts) else len(self.source)

    @cached_property
    def _sections(self) -> list[tuple[int, str]]:
        return [(0, ""), *((match.start(), match.group("title")) for match in _SECTION.finditer(self.source))]

    def section_of(self, position: int) -> str:
        """The title of the part of the file; "" in front of the first."""
        return next(title for start, title in reversed(self._sections) if start <= position)

    @cached_property
    def _functions(self) -> list[tuple[int, int, str]]:
        """Begin, end and name of all functions; they end with a brace that begins a line."""
        found = []
        for match in _FUNCTION.finditer(self.code):
            end = self.code.find("\n}", match.end())
            found.append((match.start(), len(self.code) if end < 0 else end, match.group("name")))
        return found

    def function_of(self, position: int) -> str:
        """The name of the function; "" outside of all."""
        return next((name for start, end, name in self._functions if start <= position < end), "")

    def function_text(self, position: int) -> str:
        """The code of the function; "" outside of all."""
        return next((self.code[start:end] for start, end, _ in self._functions if start <= position < end), "")

    def statement_of(self, position: int) -> int | None:
        """Where the statement begins that has this position, the innermost one; None outside of functions."""
        body = next(
            (self.code.index("{\n", start) + 1 for start, end, _ in self._functions if start <= position < end), None
        )
        if body is None or position < body:
            return None
        depth, start = 0, body
        for at in range(body, position):
            character = self.code[at]
            depth += (character in "([") - (character in ")]")
            if depth == 0 and character in ";{}":
                start = at + 1
        while (head := _HEAD.match(self.code, start)) is not None:
            end = self._behind_parenthesis(head.end())
            if end > position:
                break
            start = end
        return start

    def _behind_parenthesis(self, at: int) -> int:
        """Where the parenthesis ends that begins at `at`; `at` itself if none does."""
        if at >= len(self.code) or self.code[at] != "(":
            return at
        depth = 0
        for end in range(at, len(self.code)):
            depth += (self.code[end] == "(") - (self.code[end] == ")")
            if depth == 0:
                return end + 1
        return at
