"""Planted bugs: small textual changes to emitted C, each of which the tester must find.

An operator is a pattern and what to put in its place. They imitate what goes wrong in kernels: a filter tap left out, a
mask one lane too wide, a lane never written, a tile one pixel short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fuzz.targets import Sources


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to break C. `replacement` may refer to groups of `pattern`, as for `re.sub`."""

    name: str
    pattern: re.Pattern[str]
    replacement: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place: the line (counted from 1), its text before and after, and the whole broken source."""

    operator: str
    line: int
    before: str
    after: str
    sources: Sources

    def __str__(self) -> str:
        return f"{self.operator} in line {self.line}: {self.before.strip()}  ->  {self.after.strip()}"


OPERATORS = (
    Operator("dropped tap", re.compile(r"(\w[\w\[\].>-]*) = _mm512_fmadd_ps\([^;]*\);"), r"\1 = \1;"),
    Operator("widened mask", re.compile(r"\(1u << (\w+)\) - 1\b"), r"(2u << \1) - 1"),
    Operator("unwritten lane", re.compile(r"\b_mm512_storeu_ps\(([^,;]+),"), r"_mm512_mask_storeu_ps(\1, 0x7fff,"),
    Operator("short tile", re.compile(r"\b(for \(int p = \d+; p < )(\d+|pixels(?: - \d+)?)(; p\+\+\))"), r"\1\2 - 1\3"),
)
"""All operators, by what they plant."""

TILE_OPERATORS = (
    Operator("wrong constant", re.compile(r"_mm512_set1_ps\((-?\d+\.\d+)f\)"), r"_mm512_set1_ps(1.0001f * \1f)"),
    Operator("shifted tile", re.compile(r"((?:\btile|\bn) [/%] \d+ \* \d+(?: - \d+)?)(?=[,;])"), r"\1 + 1"),
    Operator("narrow edge", re.compile(r"< (height|width);"), r"< \1 - 1;"),
    Operator("wide edge", re.compile(r"< (height|width);"), r"<= \1;"),
    Operator("unmasked edge", re.compile(r"inside \? (lanes|0xffff) : 0;"), r"\1;"),
    Operator("overhang written", re.compile(r"if \(\w == (rows|columns)\) (return|break);"), r";"),
)
"""Operators for kernels that compute tile by tile."""


def mutants(sources: Sources, operators: tuple[Operator, ...] = OPERATORS) -> Iterator[Mutant]:
    """Every mutant of a source with one change each, in the order of the text."""
    lines = sources.source.splitlines(keepends=True)
    for number, line in enumerate(lines):
        for operator in operators:
            for match in operator.pattern.finditer(line):
                after = line[: match.start()] + match.expand(operator.replacement) + line[match.end() :]
                text = "".join([*lines[:number], after, *lines[number + 1 :]])
                yield Mutant(operator.name, number + 1, line, after, replace(sources, source=text))
