"""Graph texts with mistakes: marks in them are where carets must stand."""

from __future__ import annotations

import re

import pytest

from nn512.graph import GraphError, parse

HEAD = "Config\nInput ToTensor=x Channels=4 Height=8 Width=6\n"
TAIL = "\nOutput FromTensor=y\n"
CONV = "Conv FromTensor=x ToTensor=y ToChannels=4 FilterH=3 FilterW=3"


def mistakes(marked: str) -> tuple[GraphError, list[tuple[int, int]]]:
    """The error of a text in which `«...»` marks what every caret must underline, and the marked spans."""
    spans = []
    text = ""
    for piece in re.split("(«[^»]*»)", marked):
        start = len(text)
        text += piece.strip("«»")
        if piece.startswith("«"):
            spans.append((start, len(text)))
    with pytest.raises(GraphError) as caught:
        parse(text, "net.graph")
    return caught.value, spans


def check(marked: str, *messages: str) -> None:
    error, spans = mistakes(marked)
    assert [d.message for d in error.diagnostics] == list(messages)
    assert [(d.span.start, d.span.end) for d in error.diagnostics] == spans
    for diagnostic in error.diagnostics:
        before = diagnostic.source.text[: diagnostic.span.start]
        assert diagnostic.line == before.count("\n") + 1
        assert diagnostic.column == len(before.rpartition("\n")[2]) + 1
        assert diagnostic.source_line == diagnostic.source.text.split("\n")[diagnostic.line - 1]


def layers(text: str, *messages: str) -> None:
    """A graph with input x (4x8x6) and output y around the marked layers."""
    check(HEAD + text + TAIL, *messages)
