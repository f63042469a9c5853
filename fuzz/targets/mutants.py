"""Planted bugs: small textual changes to emitted C, each of which the tester must find.

They imitate what goes wrong in kernels: a filter tap left out, a mask one lane too wide, a lane never written, a tile
one pixel short. `operators.py` lists the ways, `fuzz.mutation` counts which of them are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from fuzz.targets.base import Sources
from fuzz.targets.operators import OPERATORS, Operator
from fuzz.targets.text import Text

__all__ = ["OPERATORS", "Mutant", "Operator", "mutants", "operators_named"]


def operators_named(*names: str) -> tuple[Operator, ...]:
    """The operators of these names. Raises KeyError for one that is none."""
    known = {operator.name: operator for operator in OPERATORS}
    return tuple(known[name] for name in names)


@dataclass(frozen=True)
class Mutant:
    """One changed place of a source: from `start` to before `end` there is `put` instead.

    `line` is counted from 1; `section` is the title of the part of the file, `function` the name of the function.
    """

    operator: str
    unbroken: Sources
    text: Text
    start: int
    end: int
    put: str

    @property
    def line(self) -> int:
        """The changed line."""
        return self.text.line_of(self.start)

    @property
    def before(self) -> str:
        """The line as it was."""
        start, end = self.text.line_span(self.line)
        return self.text.source[start:end]

    @property
    def after(self) -> str:
        """The line as it is."""
        start, end = self.text.line_span(self.line)
        return self.text.source[start : self.start] + self.put + self.text.source[self.end : end]

    @property
    def section(self) -> str:
        """The part of the file."""
        return self.text.section_of(self.start)

    @property
    def function(self) -> str:
        """The function, "" outside of all."""
        return self.text.function_of(self.start)

    @cached_property
    def sources(self) -> Sources:
        """The whole broken source."""
        source = self.text.source
        return replace(self.unbroken, source=source[: self.start] + self.put + source[self.end :])

    @property
    def trapped(self) -> Sources | None:
        """The unbroken source, ended by a trap where the changed statement would begin; None outside of functions."""
        source, at = self.text.source, self.text.statement_of(self.start)
        if at is None:
            return None
        # Before a declaration nothing else may stand, behind a condition nothing less than a statement.
        behind = source[:at].rstrip().endswith((";", "{", "}", "*/"))
        trap = " __builtin_trap(); " if behind else " if (1) __builtin_trap(); else "
        return replace(self.unbroken, source=source[:at] + trap + source[at:])

    def __str__(self) -> str:
        return f"{self.operator} in line {self.line}: {self.before.strip()}  ->  {self.after.strip()}"


def mutants(sources: Sources, operators: Sequence[Operator] = OPERATORS) -> Iterator[Mutant]:
    """Every mutant of a source with one change each, in the order of the text."""
    text = Text(sources.source)
    for number, code in enumerate(text.code.split("\n"), 1):
        if not code or code.isspace():
            continue
        start, _ = text.line_span(number)
        seen = {code}
        for operator in operators:
            if operator.but is not None and operator.but.search(code):
                continue
            for match in operator.pattern.finditer(code):
                put = match.expand(operator.replacement)
                after = code[: match.start()] + put + code[match.end() :]
                if after not in seen:  # two operators may do the same
                    seen.add(after)
                    yield Mutant(operator.name, sources, text, start + match.start(), start + match.end(), put)
