"""Graph text to statements: one per node, each with what could be read of it.

Reading never stops at the first mistake. A node with a mistake is still listed, without its dataclass but with the
tensors it names, so that the nodes around it are not accused of what is not their fault.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nn512.graph.diagnostics import Diagnostics, quote
from nn512.graph.fields import SELECTOR, FieldInfo, ValueType
from nn512.graph.node import misplaced
from nn512.graph.source import Span
from nn512.graph.statement import Reference, Statement, state
from nn512.graph.suggest import close_match, did_you_mean
from nn512.graph.usual import UsualReader
from nn512.graph.values import BadValueError, read_value
from nn512.graph.vocabulary import SPACE, VOCABULARY, KindWords, Vocabulary

MOST_NODES = 2**15
"""Nodes a graph may have: thirty times those of the largest nets, and few enough to be read within a second."""

# After so many fields in one node, or words in a row that belong to none, reading on helps nobody.
_MOST_FIELDS = 1000
_MOST_SKIPPED = 10_000

# A word, or everything up to the next one from a comment or a line break on. Possessive repeats: no backtracking.
_TOKEN = re.compile(rf"[^{SPACE}#]++|(?:#[^\n]*+|\n)(?:[{SPACE}]++|#[^\n]*+)*+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_ODD = re.compile(r"[^!-~]")


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

    of: KindWords | None
    known: bool
    span: Span
    # The whole node, where it has the usual form; then `words` are not listed.
    usual: re.Match[str] | None = None
    words: list[_Word] = field(default_factory=list)
    # Fields named without a readable `=value`: complained about once, not missed again.
    excused: set[str] = field(default_factory=set)


def read_statements(diagnostics: Diagnostics, vocabulary: Vocabulary = VOCABULARY) -> tuple[Statement, ...]:
    """The statements of the source. Raises HopelessTextError, with the diagnostics saying why."""
    statements: list[Statement] = []
    usual = UsualReader()
    for raw in _group(diagnostics, vocabulary):
        if len(statements) == MOST_NODES:
            diagnostics.give_up(raw.span, f"the graph has more than {MOST_NODES:,} nodes")
        if raw.of is None or not raw.known:
            statements.append(_guess_node(raw, vocabulary))
            continue
        statement = None if raw.usual is None else usual.read(raw.of, raw.usual)
        if raw.usual is not None and statement is None:
            raw.words.extend(_words(diagnostics.source.text, raw.span.end, raw.usual.end()))
        statements.append(statement or _read_node(raw.of, raw, diagnostics))
    return tuple(statements)


def _words(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[_Word]:
    """The words of a part of a text, which begins with the text or behind a word."""
    first_on_line = start == 0
    for found in _TOKEN.finditer(text, start, end):
        token = found[0]
        if token[0] in "#\n":
            first_on_line |= "\n" in token
        else:
            yield _Word(token, found.start(), first_on_line)
            first_on_line = False


def _group(diagnostics: Diagnostics, vocabulary: Vocabulary) -> Iterator[_RawNode]:
    """Words to nodes: every kind begins one."""
    kinds = vocabulary.kinds
    current: _RawNode | None = None  # None: skipping, because what came last belongs to no node
    skipped = 0
    split = ""  # what is left of a `Field = value` that was reported whole
    words = _words(diagnostics.source.text)
    while word := next(words, None):
        text = word.text
        equals = text.find("=")
        kind = kinds.get(text) if equals < 0 else None
        split, unsplit = "", split
        if kind is not None:
            if current is not None:
                yield current
            usual = kind.usual.match(diagnostics.source.text, word.start)
            current = _RawNode(kind, known=True, span=word.span, usual=usual)
            if usual is not None:
                words = _words(diagnostics.source.text, usual.end())
            skipped = 0
        elif current is not None and unsplit and (unsplit == "value" or text.startswith("=")):
            split = "value" if text == "=" else ""
        elif current is not None and equals > 0:
            missing_kind = _missing_kind(word, current, diagnostics, vocabulary) if word.first_on_line else None
            if missing_kind is not None:
                diagnostics.add(word.span, missing_kind)
                yield current
                current = _RawNode(None, known=False, span=word.span)
            current.words.append(word)
            if len(current.words) > _MOST_FIELDS:
                diagnostics.give_up(word.span, f"stopped reading here: more than {_MOST_FIELDS:,} fields in one node")
            split = "value" if equals == len(text) - 1 else ""
        elif current is not None and not _begins_node(word, vocabulary):
            _complain_of_stray(word, current, diagnostics, vocabulary)
            split = "=" if text in vocabulary.fields else ""
        elif skipped == 0 or (word.first_on_line and _NAME.fullmatch(text)):
            guess = close_match(text, kinds)
            diagnostics.add(word.span, _unknown_kind(word, guess, diagnostics))
            if current is not None:
                yield current
            current = _RawNode(kinds[guess] if guess else None, known=False, span=word.span)
            if guess is None:
                # What follows a word that resembles a kind is probably its fields; after any other word, nobody knows.
                yield current
                current = None
            skipped = 1
        else:
            skipped += 1
            if skipped > _MOST_SKIPPED:
                diagnostics.give_up(word.span, f"stopped reading here: {_MOST_SKIPPED:,} words that belong to no node")
    if current is not None:
        yield current


def _missing_kind(word: _Word, current: _RawNode, diagnostics: Diagnostics, vocabulary: Vocabulary) -> str | None:
    """What to say about a `Field=value` at the beginning of a line that cannot be the current node's any more.

    None if it can be, or if the node is not complete: then the fields that follow are needed more there.
    """
    if current.of is None or not current.known:
        return None
    name = word.text.partition("=")[0]
    given = {w.text.partition("=")[0]: w for w in current.words}
    choice = given[SELECTOR].text.partition("=")[2] if SELECTOR in given else None
    if name not in vocabulary.fields or not given.keys() >= current.of.required_with(choice):
        return None
    if name in given:
        line = diagnostics.line(given[name].span)
        return f"{name} is given twice; the first is on line {line}, or a node kind is missing here"
    if name not in current.of.fields:
        return f"{current.of.kind.__name__} has no field {quote(name)}, or a node kind is missing here"
    return None


def _begins_node(word: _Word, vocabulary: Vocabulary) -> bool:
    """Whether a word that is no kind and no `Field=value` was meant to begin a node, rather than being a stray one."""
    if not _NAME.fullmatch(word.text) or word.text in vocabulary.fields:
        return False
    return word.first_on_line or word.text[0].isupper()


def _unknown_kind(word: _Word, guess: str | None, diagnostics: Diagnostics) -> str:
    if "=" in word.text:
        return f"expected a node kind before {quote(word.text)}"
    odd = _describe_odd_character(word, diagnostics)
    if odd:
        return odd
    return f"unknown node kind {quote(word.text)}{did_you_mean(guess)}"


def _describe_odd_character(word: _Word, diagnostics: Diagnostics) -> str | None:
    """What to say about the first character of a word that no graph contains; None if there is none."""
    found = _ODD.search(word.text)
    if found is None:
        return None
    code = ord(found[0])
    column = diagnostics.source.column_number(word.start + found.start())
    if 0xDC80 <= code <= 0xDCFF:  # how load() hands on bytes that it cannot decode
        return f"the byte 0x{code - 0xDC00:02X} in column {column} is not UTF-8; graph files are plain ASCII text"
    return f"the character U+{code:04X} in column {column} cannot occur outside of a comment"


def _complain_of_stray(word: _Word, current: _RawNode, diagnostics: Diagnostics, vocabulary: Vocabulary) -> None:
    name = word.text
    if name in vocabulary.fields:
        current.excused.add(name)
        diagnostics.add(word.span, f"{name} has no value; write {name}=value without white space around '='")
    else:
        odd = _describe_odd_character(word, diagnostics)
        diagnostics.add(word.span, odd or f"{quote(word.text)} is neither a node kind nor Field=value")


def _read_node(of: KindWords, raw: _RawNode, diagnostics: Diagnostics) -> Statement:
    """Read the fields of a node whose kind is known."""
    infos = of.fields
    mistakes = len(diagnostics.diagnostics)
    values: dict[str, Any] = {}  # by attribute
    spans: dict[str, Span] = {}
    guesses: list[tuple[FieldInfo, _Word]] = []
    for word in raw.words:
        name, _, text = word.text.partition("=")
        info = infos.get(name)
        span = Span(word.start + len(name) + 1, word.start + len(word.text))
        if info is None:
            guess = close_match(name, infos)
            odd = _describe_odd_character(word, diagnostics)
            message = odd or f"{of.kind.__name__} has no field {quote(name)}{did_you_mean(guess)}"
            diagnostics.add(Span(word.start, word.start + len(name)), message)
            if guess is not None:
                guesses.append((infos[guess], word))
        elif name in spans:
            first = diagnostics.line(spans[name])
            diagnostics.add(word.span, f"{name} is given twice; the first is on line {first}")
        else:
            spans[name] = span
            try:
                values[info.attribute] = read_value(info, text)
            except BadValueError as error:
                diagnostics.add(span, str(error))
    _check_choice(of, values, spans, diagnostics)
    named = raw.excused.union(spans) if raw.excused or guesses else spans.keys()
    for info, word in guesses:  # a misspelt field stands in for the one that is then missing
        if info.name not in named:
            named = {*named, info.name}
            if info.type is ValueType.NAME:
                text = word.text.partition("=")[2]
                spans[info.name] = Span(word.span.end - len(text), word.span.end)
                if _NAME.fullmatch(text):
                    values[info.attribute] = text
    _check_missing(of, values, named, raw.span, diagnostics)
    correct = mistakes == len(diagnostics.diagnostics) and not raw.excused
    return state(of, raw.span, values, spans, correct=correct)


def _check_choice(
    of: KindWords, values: Mapping[str, Any], spans: Mapping[str, Span], diagnostics: Diagnostics
) -> None:
    """Report fields that go with other choices of Kind than the one that the node makes."""
    choice = of.choice(values)
    if choice is not None:
        for info in of.choosy:
            if info.name in spans and not info.applies(choice):
                end = spans[info.name].start - 1
                diagnostics.add(Span(end - len(info.name), end), misplaced(info, choice))


def _check_missing(
    of: KindWords, values: Mapping[str, Any], named: Collection[str], span: Span, diagnostics: Diagnostics
) -> None:
    choice = of.choice(values)
    required = of.required_with(choice)
    missing = [name for name in of.fields if name in required and name not in named]
    if missing:
        what = "the field" if len(missing) == 1 else "the fields"
        always = of.required[None].issuperset(missing)
        who = of.kind.__name__ if always else f"{of.kind.__name__} {SELECTOR}={choice}"
        diagnostics.add(span, f"{who} lacks {what} {', '.join(missing)}")


def _guess_node(raw: _RawNode, vocabulary: Vocabulary) -> Statement:
    """What an unknown kind of node reads and produces, as far as its fields tell."""
    reads, writes = [], None
    for word in raw.words:
        name, _, text = word.text.partition("=")
        reference = Reference(text, Span(word.span.end - len(text), word.span.end))
        if name in vocabulary.reads:
            reads.append(reference)
        elif name in vocabulary.writes:
            writes = reference
    return Statement(
        kind=None if raw.of is None else raw.of.kind,
        span=raw.span,
        node=None,
        reads=tuple(reads),
        writes=writes,
        reads_unknown=not reads and (raw.of is None or bool(raw.of.reads)),
        writes_unknown=writes is None and (raw.of is None or raw.of.writes is not None),
    )
