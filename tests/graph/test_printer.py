"""Printing and parsing undo each other."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import KINDS, FieldInfo, GraphError, Node, ValueType, format_graph, format_node, parse
from nn512.graph.diagnostics import Diagnostics
from nn512.graph.fields import field_table
from nn512.graph.parser import read_statements
from nn512.graph.source import Source

NAMES = st.builds(
    str.__add__,
    st.sampled_from(string.ascii_letters),
    st.text(string.ascii_letters + string.digits, max_size=8),
)


def values(info: FieldInfo) -> st.SearchStrategy[Any]:
    """Everything a field can hold."""
    match info.type:
        case ValueType.NAME:
            return NAMES
        case ValueType.POSITIVE:
            return st.integers(1, info.limit)
        case ValueType.SIZE:
            return st.integers(1, info.limit) | st.integers(1, 10_000).map(lambda n: n << 10)
        case ValueType.NATURAL:
            return st.integers(0, info.limit)
        case ValueType.NUMBER:
            return st.floats(info.least, width=32, allow_nan=False, allow_infinity=False)
        case ValueType.CHOICE:
            return st.sampled_from(info.choices)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """Any node, with any values: not necessarily a part of any sensible graph."""
    kind = draw(st.sampled_from(KINDS))
    table = field_table(kind)
    given = {info.attribute: draw(values(info)) for info in table.infos if not info.goes_with}
    choice = None if table.selector is None else given[table.selector]
    given |= {info.attribute: draw(values(info)) for info in table.choosy if info.applies(choice)}
    return kind(**given)


@given(st.lists(nodes(), max_size=5))
def test_printed_nodes_read_as_themselves(drawn: list[Node]) -> None:
    diagnostics = Diagnostics(Source(format_graph(drawn), "drawn"))
    statements = read_statements(diagnostics)
    assert not diagnostics.diagnostics
    assert [s.node for s in statements] == drawn
    assert diagnostics.source.text.count("\n") == len(drawn)


@given(nodes(), st.randoms(use_true_random=False))
def test_order_of_fields_does_not_matter(node: Node, random: Any) -> None:
    kind, *fields = format_node(node).split()
    random.shuffle(fields)
    (statement,) = read_statements(Diagnostics(Source("\n".join([kind, *fields]), "drawn")))
    assert statement.node == node


def check_error(error: GraphError) -> None:
    assert error.diagnostics
    places = [d.span for d in error.diagnostics]
    assert places == sorted(places)
    for shown in map(str, error.diagnostics):
        head, line, caret = shown.split("\n")
        assert ": error: " in head
        assert line.startswith("  ")
        assert caret.strip("~ \t") == "^"


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "Config",
                "Input",
                "Conv",
                "Softmax",
                "Output",
                "Cnv",
                "ToTensor=x",
                "FromTensor=x",
                "FromTensor=y",
                "ToTensor=y",
                "Channels=1",
                "Height=1",
                "Width=1",
                "Height=0",
                "=",
                "#",
                "\n",
                "Kind=ReLU",
                "Add",
                "FromTensor1=y",
                "FromTensor2=x",
            ],
        )
    ).map(" ".join)
)
def test_any_text_is_a_graph_or_an_error(text: str) -> None:
    try:
        graph = parse(text)
    except GraphError as error:
        check_error(error)
        return
    assert format_graph(parse(format_graph(graph))) == format_graph(graph)
