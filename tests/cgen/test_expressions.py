"""Index arithmetic: what is folded, how it is printed, and that C computes from the text what the value means."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn512.cgen.expressions import (
    ZERO,
    Cast,
    Conditional,
    Constant,
    Element,
    Expression,
    Less,
    Name,
    Negated,
    Product,
    Quotient,
    Remainder,
    Sum,
    extent,
    least,
    sum_of,
)
from nn512.errors import CannotRunError
from nn512.toolchain import find_compilers

x, y, w = Name("x"), Name("y"), Name("w")
VARIABLES: Mapping[str, int] = {"x": 3, "y": 7, "z": 0, "wide": 41}
TABLE = (5, 0, 2, 9)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (x + 0, "x"),
        (ZERO + x, "x"),
        (x + 2 + 3, "x + 5"),
        (x + 2 - 2, "x"),
        (x - 3, "x - 3"),
        (x - y, "x - y"),
        (Constant(7) - x, "7 - x"),
        (x - (y - 1), "x - (y - 1)"),
        (-x, "-x"),
        (-Negated(x), "x"),
        (x - -y, "x + y"),
        (-(x * 2) + y, "-(x * 2) + y"),
        (x * 0, "0"),
        (x * 1, "x"),
        (Constant(1) * x, "x"),
        (Constant(2) * 3, "6"),
        (Constant(2) * x, "2 * x"),
        (x * y * 16, "x * y * 16"),
        (x * -3, "x * -3"),
        ((x + 1) * 16, "(x + 1) * 16"),
        (x * (y + 1), "x * (y + 1)"),
        (x // 1, "x"),
        (x // 4 * 4, "x / 4 * 4"),
        (x * 4 // 4, "x * 4 / 4"),
        (x * (y // 4), "x * (y / 4)"),
        (x * (-y), "x * -y"),
        (x // y, "x / y"),
        (x % 1, "0"),
        ((x + 1) % 4, "(x + 1) % 4"),
        (Constant(9) // 2, "4"),
        (Constant(9) % 4, "1"),
        (extent(7, 1, 7, 16), "7 * 7 * 16"),
        (extent(1, 16), "16"),
        (extent(), "1"),
        (extent(1 << 16, 1 << 15), "(ptrdiff_t)65536 * 32768"),
        (x * extent(2, 16), "x * (2 * 16)"),
        (extent(2, 16) * x, "2 * 16 * x"),
        (extent(3, 3) + 16, "3 * 3 + 16"),
        (sum_of(3, x, 4, y), "x + y + 7"),
        (sum_of(0, 0), "0"),
        (x.at(0, y + 1), "x[0][y + 1]"),
        (x.offset(0), "x"),
        (x.offset(y), "x + y"),
        (x.offset(y + 1), "x + (y + 1)"),
        (x.offset(y * 16), "x + y * 16"),
        (least(x, 3), "x < 3 ? x : 3"),
        (y * 2 + least(x, 3), "y * 2 + (x < 3 ? x : 3)"),
        (Conditional(Less(x, y), least(x, 1), ZERO), "x < y ? (x < 1 ? x : 1) : 0"),
        (Cast("size_t", x) * 4, "(size_t)x * 4"),
        (Cast("size_t", least(x, 1)), "(size_t)(x < 1 ? x : 1)"),
        (Element(x + y, ZERO), "(x + y)[0]"),
    ],
    ids=str,
)
def test_text(expression: Expression, text: str) -> None:
    assert str(expression) == text


def test_constructors_do_not_fold() -> None:
    assert str(Sum((Constant(14), Constant(-1)))) == "14 - 1"
    assert str(Product((ZERO, Constant(16)))) == "0 * 16"


def test_equal_values_are_equal() -> None:
    assert x * 16 + 3 == sum_of(1, Name("x") * 16, 2)
    assert extent(4) == Constant(4)
    assert x + y != y + x


def meaning(expression: Expression) -> int:
    """The value of an expression in exact arithmetic; quotients are cut off as in C."""
    match expression:
        case Constant(number):
            return number
        case Name(name):
            return VARIABLES[name]
        case Element(Name("table"), index):
            return TABLE[meaning(index)]
        case Negated(operand) | Cast(_, operand):
            return -meaning(operand) if isinstance(expression, Negated) else meaning(operand)
        case Sum(terms):
            return sum(map(meaning, terms))
        case Product(factors):
            product = 1
            for factor in factors:
                product *= meaning(factor)
            return product
        case Quotient(dividend, divisor):
            return int(meaning(dividend) / meaning(divisor))
        case Remainder(dividend, divisor):
            return meaning(dividend) - meaning(divisor) * int(meaning(dividend) / meaning(divisor))
        case Less(left, right):
            return int(meaning(left) < meaning(right))
        case Conditional(condition, then, otherwise):
            return meaning(then) if meaning(condition) else meaning(otherwise)
        case _:
            raise AssertionError(expression)


def grown(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """Expressions of smaller ones: by operators, which fold, and by constructors, which do not."""
    pairs = st.tuples(parts, parts)
    several = st.lists(parts, min_size=2, max_size=4).map(tuple)
    divisors = st.integers(1, 9)
    return st.one_of(
        pairs.map(lambda pair: pair[0] + pair[1]),
        pairs.map(lambda pair: pair[0] - pair[1]),
        pairs.map(lambda pair: pair[0] * pair[1]),
        pairs.map(lambda pair: least(*pair)),
        pairs.map(lambda pair: pair[0].offset(pair[1])),
        st.tuples(pairs.map(lambda pair: Less(*pair)), parts, parts).map(lambda three: Conditional(*three)),
        st.tuples(parts, divisors).map(lambda pair: Quotient(pair[0], Constant(pair[1]))),
        st.tuples(parts, divisors).map(lambda pair: Remainder(pair[0], Constant(pair[1]))),
        parts.map(lambda part: -part),
        parts.map(Negated),
        parts.map(lambda part: Cast("ptrdiff_t", part)),
        parts.map(lambda part: Name("table").at((part % 4 + 4) % 4)),
        several.map(Sum),
        several.map(Product),
        several.map(lambda parts: sum_of(*parts)),
    )


LEAVES = st.one_of(st.integers(-3, 20).map(Constant), st.sampled_from(sorted(VARIABLES)).map(Name))
EXPRESSIONS = st.recursive(LEAVES, grown, max_leaves=8)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(EXPRESSIONS, min_size=60, max_size=150))
def test_c_computes_what_the_value_means(tmp_path: Path, expressions: list[Expression]) -> None:
    """Compiled with all arithmetic in ptrdiff_t; values that do not fit are left out."""
    try:
        compiler = find_compilers()[0]
    except CannotRunError as error:
        pytest.skip(str(error))
    fitting = [expression for expression in expressions if abs(meaning(expression)) < 1 << 31]
    variables = ", ".join(f"{name} = {value}" for name, value in VARIABLES.items())
    checks = "\n".join(
        f"    if (({expression}) != {meaning(expression)}) return {number % 250 + 1};"
        for number, expression in enumerate(fitting)
    )
    text = (
        "#include <stddef.h>\nint main(void) {\n"
        f"    volatile ptrdiff_t {variables};\n"
        f"    const ptrdiff_t table[] = {{{', '.join(map(str, TABLE))}}};\n{checks}\n    return 0;\n}}\n"
    )
    (tmp_path / "check.c").write_text(text)
    subprocess.run([*compiler.command, "-std=c99", "-w", "check.c", "-o", "check"], cwd=tmp_path, check=True)
    code = subprocess.run([tmp_path / "check"], check=False).returncode
    assert code == 0, str(fitting[code - 1])
