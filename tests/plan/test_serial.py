"""plan.json: the typed plan, written and read again, with every field documented."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings

import nn512
from fuzz.draw import graphs
from nn512.errors import UsageError
from nn512.graph import Graph
from nn512.plan.plan import (
    SCHEMA,
    PassEffect,
    Plan,
    PlannedAxis,
    PlannedLayer,
    PlannedNode,
    PlannedStep,
    PlannedTensor,
    PlannedTiles,
)
from nn512.plan.serial import parse_plan, plan_json, plan_manual

NET = "Config Input ToTensor=x Channels=1 Height=1 Width=1 Softmax FromTensor=x ToTensor=y Output FromTensor=y"


@settings(max_examples=30)
@given(graphs(5))
def test_what_is_written_reads_as_the_same_plan(graph: Graph) -> None:
    plan = nn512.compile(graph).plan
    assert parse_plan(plan_json(plan), "here") == plan


def test_tiles_are_written_and_read_again() -> None:
    plan = nn512.compile(NET).plan
    axis = PlannedAxis(outputs=2, taps=3, size=4, points=("0", "1", "-1", "inf"))
    tiles = PlannedTiles(axis, PlannedAxis(outputs=1, taps=1, size=1, points=()), down=3, across=7)
    plan = dataclasses.replace(plan, layers=(dataclasses.replace(plan.layers[0], tiles=tiles), *plan.layers[1:]))
    assert parse_plan(plan_json(plan), "here") == plan


def test_every_field_is_documented() -> None:
    manual = plan_manual()
    kinds = (Plan, PlannedLayer, PlannedTiles, PlannedAxis, PlannedTensor, PlannedNode, PlannedStep, PassEffect)
    for kind in kinds:
        assert f"\n{kind.__name__}: " in manual
        for field in dataclasses.fields(kind):
            assert f"\n    {field.name} " in manual
            assert field.metadata["doc"]


BROKEN = {
    "no JSON": "{",
    "a list": "[]",
    "another version": json.dumps({"schema": SCHEMA + 1}),
    "no version": "{}",
    "nothing else": json.dumps({"schema": SCHEMA}),
    "too deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_texts_that_are_no_plan(text: str) -> None:
    with pytest.raises(UsageError, match=r"^some\.json"):
        parse_plan(text, "some.json")


def test_a_value_of_another_type_is_named_with_its_place() -> None:
    data = json.loads(plan_json(nn512.compile(NET).plan))
    for value in ("many", None, True, [1]):
        data["layers"][1]["steps"][0]["items"] = value
        with pytest.raises(UsageError, match=r"p.layers\[1\].steps\[0\].items"):
            parse_plan(json.dumps(data), "p")
    data["layers"][1]["steps"][0] = {"name": "y"}
    with pytest.raises(UsageError, match="missing or unknown: items"):
        parse_plan(json.dumps(data), "p")


def test_names_of_layers_are_unique() -> None:
    plan = nn512.compile(NET).plan
    assert len({layer.name for layer in plan.layers}) == len(plan.layers)
