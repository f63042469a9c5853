"""What the parser makes of each node of a text, and the checks go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nn512.graph.node import Node, Spans
from nn512.graph.source import Span
from nn512.graph.vocabulary import KindWords


class Reference(NamedTuple):
    """A tensor's name and where it is written."""

    name: str
    span: Span


class Statement(NamedTuple):
    """One node of the text, perhaps with mistakes.

    `kind` is None where the word for it is unknown and resembles nothing. `node` is None where anything about it is
    wrong. `reads_unknown` (`writes_unknown`) says that the node reads (produces) a tensor whose name is not known.
    """

    kind: type[Node] | None
    span: Span
    node: Node | None
    reads: tuple[Reference, ...]
    writes: Reference | None
    reads_unknown: bool
    writes_unknown: bool


def state(
    of: KindWords, span: Span, values: Mapping[str, Any], spans: Mapping[str, Span], *, correct: bool
) -> Statement:
    """The statement of a node whose kind is known.

    `values` are those of the fields that could be read, by attribute; `spans` are the places of those that are written,
    by name. There is a node only if all of that is `correct`.
    """
    written = of.writes
    writes = None
    if written is not None and written.attribute in values:
        writes = Reference(values[written.attribute], spans[written.name])
    return Statement(
        kind=of.kind,
        span=span,
        node=of.kind(**values, spans=Spans(span, spans)) if correct else None,
        reads=tuple([Reference(values[i.attribute], spans[i.name]) for i in of.reads if i.attribute in values]),
        writes=writes,
        reads_unknown=not correct
        and any(i.attribute not in values and (i.required or i.name in spans) for i in of.reads),
        writes_unknown=written is not None and writes is None,
    )
