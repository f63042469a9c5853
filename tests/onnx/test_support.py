"""The table of what is read lists every operator and attribute, and the command line prints it."""

from __future__ import annotations

import pytest

from nn512.cli import main
from nn512.onnx.importing import BY_OPERATOR
from nn512.onnx.support import counts, support_table


def test_every_operator_and_attribute_is_listed() -> None:
    text = support_table()
    sections = {section.split()[0]: section for section in text.split("\n    ")[1:] if section[0] != " "}
    assert set(sections) == set(BY_OPERATOR)
    for operator, rule in BY_OPERATOR.items():
        assert all(f"\n      {name}" in text for name in rule.attributes), operator
    assert list(sections) == sorted(sections)


def test_the_counts_are_of_operators_that_are_read() -> None:
    by_operator, others = counts()
    assert set(by_operator) <= set(BY_OPERATOR)
    assert sum(count.passed for count in by_operator.values()) > 120
    assert sum(others) > 1000


def test_lines_fit() -> None:
    assert max(map(len, support_table().splitlines())) <= 101


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doc", "onnx"]) == 0
    assert capsys.readouterr().out == support_table()
