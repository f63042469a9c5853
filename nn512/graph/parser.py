"""Graph text to statements: one per node, each with what could be read of it.

Reading never stops at the first mistake. A node with a mistake is still listed, without its dataclass but with the
tensors it names, so that the nodes around it are not accused of what is not their fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nn512.graph.diagnostics import Report, quote
from nn512.graph.nodes import KINDS, Config, FieldInfo, Input, Node, Output, Spans, ValueType, field_infos
from nn512.graph.source import Span
from nn512.graph.suggest import close_match, did_you_mean
from nn512.graph.values import BadValueError, read_value

MOST_NODES = 2**15
"""Nodes a graph may have: thirty times those of the largest nets, and few enough to be read within a second."""

# After so many fields in one node, or words in a row that belong to none, reading on helps nobody.
_MOST_FIELDS = 1000
_MOST_SKIPPED = 10_000

_MOST_REMEMBERED = 1000
"""Words such as `Groups=1` of one kind of node whose value is kept: large graphs say the same again and again."""

_SPACE = " \t\n\v\f"
# A word, or everything up to the next one from a comment or a line break on. Possessive repeats: no backtracking.
_TOKEN = re.compile(rf"[^{_SPACE}#]++|(?:#[^\n]*+|\n)(?:[{_SPACE}]++|#[^\n]*+)*+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_ODD = re.compile(r"[^!-~]")

_KINDS = {kind.__name__: kind for kind in KINDS}
_FIELDS = {kind: {info.name: info for info in field_infos(kind)} for kind in KINDS}
_REQUIRED = {kind: tuple(name for name, info in _FIELDS[kind].items() if info.required) for kind in KINDS}
_READS = {kind: tuple(name for name in _FIELDS[kind] if name.startswith("FromTensor")) for kind in KINDS}
_ATTRIBUTES = {kind: {name: info.attribute for name, info in _FIELDS[kind].items()} for kind in KINDS}
_WRITES = "ToTensor"
_ALL_FIELDS = {name for infos in _FIELDS.values() for name in infos}


class Reference(NamedTuple):
    """A tensor's name and where it is written."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Statement:
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


class _Word(NamedTuple):
    text: str
    start: int
    first_on_line: bool

    @property
    def span(self) -> Span:
        return Span(self.start, self.start + len(self.text))


@dataclass(slots=True)
class _RawNode:
    """A kind and the `Field=value` words that follow it, unread."""

    kind: type[Node] | None
    known: bool
    span: Span
    # Name and value of words that were read in nodes of this kind before.
    memory: dict[str, tuple[str, Any]] = field(default_factory=dict)
    words: list[_Word] = field(default_factory=list)
    # Fields named without a readable `=value`: complained about once, not missed again.
    excused: set[str] = field(default_factory=set)


def read_statements(report: Report) -> tuple[Statement, ...]:
    """The statements of the report's source. Raises HopelessTextError, with the report saying why."""
    statements: list[Statement] = []
    for raw in _group(report):
        if len(statements) == MOST_NODES:
            report.give_up(raw.span, f"the graph has more than {MOST_NODES:,} nodes")
        if raw.known and raw.kind:
            statements.append(_read_node(raw.kind, raw, report))
        else:
            statements.append(_guess_node(raw))
    return tuple(statements)


def _words(text: str) -> Iterator[_Word]:
    first_on_line = True
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] in "#\n":
            first_on_line |= "\n" in token
        else:
            # What `_Word(...)` does, at a third of the cost: a large graph has half a million words.
            yield tuple.__new__(_Word, (token, found.start(), first_on_line))
            first_on_line = False


def _group(report: Report) -> Iterator[_RawNode]:
    """Words to nodes: every kind begins one."""
    memory: dict[type[Node], dict[str, tuple[str, Any]]] = {kind: {} for kind in KINDS}
    current: _RawNode | None = None  # None: skipping, because what came last belongs to no node
    skipped = 0
    split = ""  # what is left of a `Field = value` that was reported whole
    for word in _words(report.source.text):
        text = word.text
        if (
            current is not None
            and text in current.memory
            and not (word.first_on_line or split)
            and len(current.words) < _MOST_FIELDS
        ):
            current.words.append(word)
            continue
        equals = text.find("=")
        kind = _KINDS.get(text) if equals < 0 else None
        split, unsplit = "", split
        if kind is not None:
            if current is not None:
                yield current
            current = _RawNode(kind, known=True, span=word.span, memory=memory[kind])
            skipped = 0
        elif current is not None and unsplit and (unsplit == "value" or text.startswith("=")):
            split = "value" if text == "=" else ""
        elif current is not None and equals > 0:
            missing_kind = _missing_kind(word, current, report) if word.first_on_line else None
            if missing_kind is not None:
                report.add(word.span, missing_kind)
                yield current
                current = _RawNode(None, known=False, span=word.span)
            current.words.append(word)
            if len(current.words) > _MOST_FIELDS:
                report.give_up(word.span, f"stopped reading here: more than {_MOST_FIELDS:,} fields in one node")
            split = "value" if equals == len(text) - 1 else ""
        elif current is not None and not _begins_node(word):
            _complain_of_stray(word, current, report)
            split = "=" if text in _ALL_FIELDS else ""
        elif skipped == 0 or (word.first_on_line and _NAME.fullmatch(text)):
            guess = close_match(text, _KINDS)
            report.add(word.span, _unknown_kind(word, guess, report))
            if current is not None:
                yield current
            current = _RawNode(_KINDS[guess] if guess else None, known=False, span=word.span)
            if guess is None:
                # What follows a word that resembles a kind is probably its fields; after any other word, nobody knows.
                yield current
                current = None
            skipped = 1
        else:
            skipped += 1
            if skipped > _MOST_SKIPPED:
                report.give_up(word.span, f"stopped reading here: {_MOST_SKIPPED:,} words that belong to no node")
    if current is not None:
        yield current


def _missing_kind(word: _Word, current: _RawNode, report: Report) -> str | None:
    """What to say about a `Field=value` at the beginning of a line that cannot be the current node's any more.

    None if it can be, or if the node is not complete: then the fields that follow are needed more there.
    """
    if current.kind is None or not current.known:
        return None
    name = word.text.partition("=")[0]
    given = {w.text.partition("=")[0]: w.span for w in current.words}
    if name not in _ALL_FIELDS or not given.keys() >= set(_REQUIRED[current.kind]):
        return None
    if name in given:
        line = report.line(given[name])
        return f"{name} is given twice; the first is on line {line}, or a node kind is missing here"
    if name not in _FIELDS[current.kind]:
        return f"{current.kind.__name__} has no field {quote(name)}, or a node kind is missing here"
    return None


def _begins_node(word: _Word) -> bool:
    """Whether a word that is no kind and no `Field=value` was meant to begin a node, rather than being a stray one."""
    if not _NAME.fullmatch(word.text) or word.text in _ALL_FIELDS:
        return False
    return word.first_on_line or word.text[0].isupper()


def _unknown_kind(word: _Word, guess: str | None, report: Report) -> str:
    if "=" in word.text:
        return f"expected a node kind before {quote(word.text)}"
    odd = _describe_odd_character(word, report)
    if odd:
        return odd
    return f"unknown node kind {quote(word.text)}{did_you_mean(guess)}"


def _describe_odd_character(word: _Word, report: Report) -> str | None:
    """What to say about the first character of a word that no graph contains; None if there is none."""
    found = _ODD.search(word.text)
    if found is None:
        return None
    code = ord(found[0])
    column = report.source.column_number(word.start + found.start())
    if 0xDC80 <= code <= 0xDCFF:  # how load() hands on bytes that it cannot decode
        return f"the byte 0x{code - 0xDC00:02X} in column {column} is not UTF-8; graph files are plain ASCII text"
    return f"the character U+{code:04X} in column {column} cannot occur outside of a comment"


def _complain_of_stray(word: _Word, current: _RawNode, report: Report) -> None:
    name = word.text
    if name in _ALL_FIELDS:
        current.excused.add(name)
        report.add(word.span, f"{name} has no value; write {name}=value without white space around '='")
    else:
        odd = _describe_odd_character(word, report)
        report.add(word.span, odd or f"{quote(word.text)} is neither a node kind nor Field=value")


def _read_node(kind: type[Node], raw: _RawNode, report: Report) -> Statement:
    """Read the fields of a node whose kind is known."""
    memory = raw.memory
    infos = _FIELDS[kind]
    mistakes = len(report.diagnostics)
    values: dict[str, Any] = {}
    spans: dict[str, Span] = {}
    guesses: list[tuple[FieldInfo, _Word]] = []
    for word in raw.words:
        known = memory.get(word[0])
        if known is not None and known[0] not in spans:
            name, values[name] = known
            _, start, _ = word
            spans[name] = tuple.__new__(Span, (start + len(name) + 1, start + len(word.text)))
            continue
        name, _, text = word.text.partition("=")
        info = infos.get(name)
        span = Span(word.start + len(name) + 1, word.start + len(word.text))
        if info is None:
            guess = close_match(name, infos)
            odd = _describe_odd_character(word, report)
            name_span = Span(word.start, word.start + len(name))
            report.add(name_span, odd or f"{kind.__name__} has no field {quote(name)}{did_you_mean(guess)}")
            if guess is not None:
                guesses.append((infos[guess], word))
        elif name in spans:
            first = report.line(spans[name])
            report.add(word.span, f"{name} is given twice; the first is on line {first}")
        else:
            spans[name] = span
            try:
                values[name] = _read_field(info, text)
            except BadValueError as error:
                report.add(span, str(error))
            else:
                if info.type is not ValueType.NAME and len(memory) < _MOST_REMEMBERED:
                    memory[word.text] = name, values[name]
    named = raw.excused.union(spans) if raw.excused or guesses else set(spans)
    for info, word in guesses:  # a misspelt field stands in for the one that is then missing
        if info.name not in named:
            named.add(info.name)
            if info.type is ValueType.NAME:
                text = word.text.partition("=")[2]
                spans[info.name] = Span(word.span.end - len(text), word.span.end)
                if _NAME.fullmatch(text):
                    values[info.name] = text
    missing = [name for name in _REQUIRED[kind] if name not in named]
    if missing:
        what = "the field" if len(missing) == 1 else "the fields"
        report.add(raw.span, f"{kind.__name__} lacks {what} {', '.join(missing)}")
    correct = mistakes == len(report.diagnostics) and not raw.excused
    reads = tuple([Reference(values[name], spans[name]) for name in _READS[kind] if name in values])
    return Statement(
        kind=kind,
        span=raw.span,
        node=_construct(kind, values, Spans(raw.span, spans)) if correct else None,
        reads=reads,
        writes=Reference(values[_WRITES], spans[_WRITES]) if _WRITES in values else None,
        reads_unknown=len(reads) < len(_READS[kind]),
        writes_unknown=_WRITES in infos and _WRITES not in values,
    )


def _read_field(info: FieldInfo, text: str) -> str | int | float:
    """The value of a field, or BadValueError; also where a rule says so that its type does not express."""
    value = read_value(info, text)
    if info.name == "Epsilon" and isinstance(value, float) and value < 0:
        message = "Epsilon must not be negative"
        raise BadValueError(message)
    return value


def _construct(kind: type[Node], values: dict[str, Any], spans: Spans) -> Node:
    names = _ATTRIBUTES[kind]
    attributes = {names[name]: value for name, value in values.items()}
    return kind(**attributes, spans=spans)


def _guess_node(raw: _RawNode) -> Statement:
    """What an unknown kind of node reads and produces, as far as its fields tell."""
    reads, writes = [], None
    for word in raw.words:
        name, _, text = word.text.partition("=")
        reference = Reference(text, Span(word.span.end - len(text), word.span.end))
        if name.startswith("FromTensor"):
            reads.append(reference)
        elif name == _WRITES:
            writes = reference
    return Statement(
        kind=raw.kind,
        span=raw.span,
        node=None,
        reads=tuple(reads),
        writes=writes,
        reads_unknown=not reads and raw.kind not in {Config, Input},
        writes_unknown=writes is None and raw.kind not in {Config, Output},
    )
