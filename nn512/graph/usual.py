"""A fast way to read nodes in the usual form, which is that of the printer and of every file of the original.

Large graphs have tens of thousands of them, and one regular expression per node costs half of what looking at each word
does. Whatever is unusual about a node, and all mistakes, are left to the parser: it makes the same of every node that
is read here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from nn512.graph.fields import FieldInfo, ValueType
from nn512.graph.source import Span
from nn512.graph.statement import Statement, state
from nn512.graph.values import BadValueError, read_value
from nn512.graph.vocabulary import KindWords

_MOST_REMEMBERED = 1000
"""Texts of one field whose value is kept: large graphs say the same again and again."""


class _Field(NamedTuple):
    """A field, and the values of texts that were read in it before."""

    name: str
    attribute: str
    info: FieldInfo
    known: dict[str, Any] | None  # None for names, which the pattern has checked


class UsualReader:
    """Reads what the pattern of a kind, `KindWords.usual`, found."""

    def __init__(self) -> None:
        self._fields: dict[str, tuple[_Field, ...]] = {}

    def read(self, of: KindWords, found: re.Match[str]) -> Statement | None:
        """The statement of a node; None if it has a mistake or is not complete."""
        name = of.kind.__name__
        fields = self._fields.get(name)
        if fields is None:
            fields = self._fields[name] = tuple(
                _Field(i.name, i.attribute, i, None if i.type is ValueType.NAME else {}) for i in of.infos
            )
        values: dict[str, Any] = {}
        spans: dict[str, Span] = {}
        place, *places = found.regs
        for (field, attribute, info, known), text, span in zip(fields, found.groups(), places, strict=True):
            if text is None:
                continue
            # What `Span(...)` does, at half the cost: a large graph has half a million fields.
            spans[field] = tuple.__new__(Span, span)
            if known is None:
                values[attribute] = text
            elif text in known:
                values[attribute] = known[text]
            else:
                try:
                    value = read_value(info, text)
                except BadValueError:
                    return None
                values[attribute] = value
                if len(known) < _MOST_REMEMBERED:
                    known[text] = value
        choice = of.choice(values)
        if not spans.keys() >= of.required_with(choice):
            return None
        if choice is not None and any(info.name in spans and not info.applies(choice) for info in of.choosy):
            return None
        return state(of, Span(place[0], place[0] + len(name)), values, spans, correct=True)
