"""Static data that can be written are found in a program, those of the net alone."""

from __future__ import annotations

import pytest

from fuzz.run.build import UNIT
from fuzz.run.statics import writable_data
from nn512.toolchain import Compiler, build, find_compilers

OTHER = "static int others = 1;\nint *other(void) { return &others; }\n"

NET = """\
#include <stdio.h>
int *other(void);
static const int table[] = {1, 2};
static const char *const names[] = {"a", "b"};
CODE
int main(void) { return fprintf(stderr, "%d %s %d", *other(), names[table[0]], *where()); }
"""


@pytest.fixture(params=find_compilers(), ids=lambda compiler: compiler.kind.value)
def compiler(request: pytest.FixtureRequest) -> Compiler:
    found: Compiler = request.param
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("static const int *where(void) { return table; }", []),
        ("static int *where(void) { static int calls; return &calls; }", ["calls"]),
        ("static int scratch[64];\nstatic int *where(void) { return scratch; }", ["scratch"]),
        ("static int filled[] = {1, 2};\nstatic int *where(void) { return filled; }", ["filled"]),
        ("int seen_by_all;\nstatic int *where(void) { return &seen_by_all; }", ["seen_by_all"]),
        ("static __thread int own;\nstatic int *where(void) { return &own; }", ["own"]),
    ],
)
def test_writable_data(compiler: Compiler, code: str, found: list[str]) -> None:
    files = {"other.c": OTHER, UNIT: NET.replace("CODE", code)}
    program = build(compiler, files, ["-O0", "other.c", UNIT], "program").path.read_bytes()
    # Those of functions have the name of the function in front with clang, a number behind with gcc.
    names = [name.removeprefix("where.").partition(".")[0] for name in writable_data(program, UNIT)]
    assert names == found


def test_a_static_program_shows_what_is_of_the_net_alone(compiler: Compiler) -> None:
    code = "int seen_by_all;\nstatic int *where(void) { static int calls; seen_by_all++; return &calls; }"
    files = {"other.c": OTHER, UNIT: NET.replace("CODE", code)}
    program = build(compiler, files, ["-O0", "-static", "other.c", UNIT], "program").path.read_bytes()
    names = [name.removeprefix("where.").partition(".")[0] for name in writable_data(program, UNIT)]
    assert names == ["calls"]


def test_what_is_no_program_has_none() -> None:
    assert writable_data(b"#!/bin/sh\n", UNIT) == []
