"""The words of the language: kinds of nodes, and the fields of each, as the parser looks them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nn512.graph.fields import REQUIRED, SELECTOR, FieldInfo, field_table
from nn512.graph.kinds import KINDS
from nn512.graph.node import Node


@dataclass(frozen=True, slots=True)
class KindWords:
    """One kind of node and its fields."""

    kind: type[Node]
    fields: Mapping[str, FieldInfo]
    reads: tuple[FieldInfo, ...]
    writes: FieldInfo | None
    choosy: tuple[FieldInfo, ...]
    required: tuple[str, ...]
    """Fields that every node of the kind must have."""

    def required_with(self, choice: str | None) -> tuple[str, ...]:
        """Fields that a node must have whose field Kind says `choice`."""
        if choice is None or not self.choosy:
            return self.required
        infos = self.fields.values()
        return tuple(i.name for i in infos if i.applies(choice) and i.default_with(choice) is REQUIRED)


class Vocabulary:
    """All words of a language of the given kinds."""

    def __init__(self, kinds: Sequence[type[Node]]) -> None:
        self.kinds: Mapping[str, KindWords] = MappingProxyType({kind.__name__: _words(kind) for kind in kinds})
        infos = [info for words in self.kinds.values() for info in words.fields.values()]
        self.fields = frozenset(info.name for info in infos)
        self.reads = frozenset(info.name for words in self.kinds.values() for info in words.reads)
        self.writes = frozenset(words.writes.name for words in self.kinds.values() if words.writes is not None)


def _words(kind: type[Node]) -> KindWords:
    table = field_table(kind)
    homeless = next((info.name for info in table.choosy if table.selector is None), None)
    assert homeless is None, f"{homeless} goes with some choices of {SELECTOR}, but {kind.__name__} has no such field"
    return KindWords(
        kind=kind,
        fields=MappingProxyType({info.name: info for info in table.infos}),
        reads=table.reads,
        writes=table.writes,
        choosy=table.choosy,
        required=tuple(info.name for info in table.infos if info.required),
    )


VOCABULARY = Vocabulary(KINDS)
"""The words of the graph language."""
