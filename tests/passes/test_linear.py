"""Passes and plans take as many operations as a net has nodes, whatever the net looks like."""

from __future__ import annotations

import pytest

from nn512.bench.counting import operations
from nn512.bench.families import FAMILIES
from nn512.compiler import decide
from nn512.graph import parse
from nn512.options import Options
from nn512.passes.pipeline import optimize

MOST = 4.7
"""How many times as many operations four times the nodes may take: logarithms count, squares do not."""


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.sizes[0] >= 60])
def test_passes_and_plans_are_linear(name: str) -> None:
    few, many = (_operations_of_a_plan(FAMILIES[name].text(number)) for number in (20, 80))
    assert many <= MOST * few


def _operations_of_a_plan(text: str) -> int:
    graph = parse(text)
    return operations(lambda: decide(optimize(graph), Options()))
