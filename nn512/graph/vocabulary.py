"""The words of the language: kinds of nodes, and the fields of each, as the parser looks them up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nn512.graph.fields import REQUIRED, SELECTOR, FieldInfo, ValueType, field_table
from nn512.graph.kinds import KINDS
from nn512.graph.node import Node
from nn512.graph.values import LONGEST_NAME

SPACE = r" \t\n\v\f"
"""White space, as the inside of a set of a regular expression."""


@dataclass(frozen=True, slots=True)
class KindWords:
    """One kind of node and its fields."""

    kind: type[Node]
    infos: tuple[FieldInfo, ...]
    fields: Mapping[str, FieldInfo]
    reads: tuple[FieldInfo, ...]
    writes: FieldInfo | None
    choosy: tuple[FieldInfo, ...]
    required: Mapping[str | None, frozenset[str]]
    """Fields that a node must have whose field Kind says so; under None those of every node."""
    usual: re.Pattern[str]
    """A whole node in the usual form, with a group for every field."""

    def choice(self, values: Mapping[str, Any]) -> str | None:
        """What the field Kind says, where other fields depend on it; `values` are by attribute."""
        return values.get(self.fields[SELECTOR].attribute) if self.choosy else None

    def required_with(self, choice: str | None) -> frozenset[str]:
        """Fields that a node must have whose field Kind says `choice`."""
        return self.required.get(choice, self.required[None])


class Vocabulary:
    """All words of a language of the given kinds."""

    def __init__(self, kinds: Sequence[type[Node]]) -> None:
        names = [kind.__name__ for kind in kinds]
        self.kinds: Mapping[str, KindWords] = MappingProxyType({k.__name__: _words(k, names) for k in kinds})
        infos = [info for words in self.kinds.values() for info in words.infos]
        self.fields = frozenset(info.name for info in infos)
        self.reads = frozenset(info.name for words in self.kinds.values() for info in words.reads)
        self.writes = frozenset(words.writes.name for words in self.kinds.values() if words.writes is not None)


def _words(kind: type[Node], kinds: Sequence[str]) -> KindWords:
    table = field_table(kind)
    choices = {choice for info in table.infos if info.name == SELECTOR for choice in info.choices}
    homeless = next((info.name for info in table.choosy if table.selector is None), None)
    assert homeless is None, f"{homeless} goes with some choices of {SELECTOR}, but {kind.__name__} has no such field"
    return KindWords(
        kind=kind,
        infos=table.infos,
        fields=MappingProxyType({info.name: info for info in table.infos}),
        reads=table.reads,
        writes=table.writes,
        choosy=table.choosy,
        required=MappingProxyType({choice: _required(table.infos, choice) for choice in (None, *choices)}),
        usual=_usual_form(kind.__name__, table.infos, kinds),
    )


def _required(infos: Sequence[FieldInfo], choice: str | None) -> frozenset[str]:
    return frozenset(i.name for i in infos if i.applies(choice) and i.default_with(choice) is REQUIRED)


def _usual_form(kind: str, infos: Sequence[FieldInfo], kinds: Sequence[str]) -> re.Pattern[str]:
    """A kind, fields in documented order, any of which may be missing, and behind it another kind or the end.

    Possessive repeats: it costs no more than the text that it passes, which white space before a field may not prolong.
    """
    name, other = rf"[A-Za-z][A-Za-z0-9]{{0,{LONGEST_NAME - 1}}}+", rf"[^{SPACE}#=]++"
    end = rf"(?![^{SPACE}#])"
    fields = (
        rf"(?:[{SPACE}]{{1,99}}+{info.name}=({name if info.type is ValueType.NAME else other}){end})?+"
        for info in infos
    )
    behind = rf"(?:[{SPACE}]++|#[^\n]*+)*+(?:(?:{'|'.join(kinds)}){end}|\Z)"
    return re.compile(rf"{kind}{''.join(fields)}(?={behind})")


VOCABULARY = Vocabulary(KINDS)
"""The words of the graph language."""
