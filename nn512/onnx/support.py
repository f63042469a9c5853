"""The table of what is read, from the rules' own words and from what ONNX's own tests showed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nn512.onnx.folding import FOLDS
from nn512.onnx.importing import BY_OPERATOR
from nn512.onnx.model import NEWEST_OPSET, OLDEST_OPSET
from nn512.onnx.rules import Rule

COUNTS = Path(__file__).with_name("support.json")
"""What ONNX's tests of single nodes showed, and of which release they were; a test writes it."""

_WIDTH = 101

_INTRODUCTION = f"""\
Operators of ONNX that nn512 import reads, and what becomes of them.

Operator sets {OLDEST_OPSET} to {NEWEST_OPSET}, float32 (float16, bfloat16 and float64 become float32), batch 1.
A tensor of 1 x C x H x W is C x H x W here, one of 1 x C x W has one row, one of 1 x C one pixel.
An input of 1 x H x W x C that a Transpose turns first is Input Order=HWC, and takes the same arrays.
Weights, biases and other parameters are constants of the model, or computed of constants.
An attribute that is not listed is refused, and so is any value that is not; everything that is
refused is listed at once.
"""


class Counts(NamedTuple):
    """Of an operator: the operator sets that define it anew, and what ONNX's tests of it show.

    They are imported and give the same, or are refused.
    """

    versions: tuple[int, ...]
    passed: int
    refused: int


def counts() -> tuple[Mapping[str, Counts], tuple[int, int]]:
    """By operator; and of how many other tests, of other operators and of functions spelled in several, it is so."""
    known = json.loads(COUNTS.read_text("utf-8"))
    by_operator = {name: Counts(tuple(versions), *numbers) for name, (versions, *numbers) in known["operators"].items()}
    passed, refused = known["others"]
    return by_operator, (passed, refused)


def support_table() -> str:
    """The table as text."""
    shown, others = counts()
    paragraphs = [textwrap.fill(" ".join(part.split()), _WIDTH) for part in _INTRODUCTION.split("\n\n")]
    entries = [_entry(rule, shown.get(rule.operator)) for _, rule in sorted(BY_OPERATOR.items())]
    folded = sorted(set(FOLDS) - set(BY_OPERATOR))
    also = "Of constants alone, and so of shapes, these are computed, too: " + ", ".join(folded) + "."
    passed, refused = (sum(numbers) for numbers in zip(*(count[1:] for count in shown.values()), strict=True))
    total = (
        f"ONNX's own tests of these operators, {passed + refused} in all: {passed} are imported and give the same "
        f"in the emitted C, {refused} are refused. Of its {sum(others):,} tests of other operators, and of functions "
        f"spelled in several, {others[0]} are imported and give the same, {others[1]:,} are refused. None is wrong."
    )
    tail = [textwrap.fill(text, _WIDTH) for text in (also, total)]
    return "\n\n".join([*paragraphs, "\n".join(entries), *tail]) + "\n"


def _entry(rule: Rule, numbers: Counts | None) -> str:
    """One operator: what becomes of it, its attributes, and its tests."""
    lines = [_hang(f"    {rule.operator}", rule.becomes, 26)]
    lines += [_hang(f"      {name}", f"{accepted}", 26) for name, accepted in rule.attributes.items()]
    if numbers is not None:
        sets = f"operator set{'s' if len(numbers.versions) > 1 else ''} {', '.join(map(str, numbers.versions))}"
        lines.append(_hang("", f"({sets}; {numbers.passed} of ONNX's tests pass, {numbers.refused} are refused)", 26))
    return "\n".join(lines)


def _hang(head: str, text: str, column: int) -> str:
    indent = " " * column
    filled = textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return head.ljust(column) + filled[column:] if len(head) < column else f"{head}\n{filled}"
