"""What is code in emitted C, and where statements and functions begin."""

from __future__ import annotations

import pytest

from fuzz.targets.text import Text

SOURCE = """\
/* A comment with (x < 3). */
#define TWICE(x) \\
    (2 * (x))
#ifdef NET_PROFILE
static int profiled(void) { return 1; }
#endif

/* ---- Shared routines -------------------------------------------- */

static INLINE void copy(const float *x,
                        int count) {
    int last = count; /* one too many */
    UNROLL for (int i = 0; i < last; i++)
        if (i != 2) put(x[i], "a; b");
        else skip();
    last = 3;
}

/* ---- Layer 2: y   (graph line 5) ---------------------------------- */
static const int table[] = {1, 2};
"""


def at(word: str) -> int:
    """Where a word stands that is there once."""
    assert SOURCE.count(word) == 1
    return SOURCE.index(word)


@pytest.fixture
def text() -> Text:
    return Text(SOURCE)


def test_what_is_no_code_is_space_where_it_stood(text: Text) -> None:
    assert len(text.code) == len(SOURCE)
    assert [line == "" for line in text.code.split("\n")] == [line == "" for line in SOURCE.split("\n")]
    for word in ("comment", "TWICE", "2 * (x)", "profiled", "one too many", "a; b", "Shared"):
        assert word in SOURCE
        assert word not in text.code
    for word in ("int last = count;", "put(x[i]", "table[]"):
        assert word in text.code


def test_lines_sections_and_functions(text: Text) -> None:
    assert text.line_of(0) == 1
    assert text.line_of(at("last = 3")) == 16
    start, end = text.line_span(16)
    assert SOURCE[start:end] == "    last = 3;\n"
    assert text.section_of(at("TWICE")) == ""
    assert text.section_of(at("last = 3")) == "Shared routines"
    assert text.section_of(at("table")) == "Layer 2: y"
    assert text.function_of(at("last = 3")) == "copy"
    assert text.function_of(at("table")) == ""


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("count; /*", "int last = count;"),
        ("last; i++", "UNROLL for (int i"),
        ("!= 2", "if (i != 2)"),
        ('"a; b"', "put(x[i]"),
        ("skip", "skip();"),
        ("3;\n}", "last = 3;"),
    ],
)
def test_the_innermost_statement(text: Text, place: str, statement: str) -> None:
    start = text.statement_of(at(place))
    assert start is not None
    assert SOURCE[start:].replace("/* one too many */", "").lstrip().startswith(statement)


def test_no_statement_outside_of_functions(text: Text) -> None:
    assert text.statement_of(at("table")) is None
    assert text.statement_of(at("const float")) is None
