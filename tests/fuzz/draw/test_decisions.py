"""Every decision of every pass is made by the layers that stand for it, and by what campaigns draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from fuzz.draw.decisions import DECISIONS, ROWS
from fuzz.draw.growth import grow
from fuzz.mutation.compiler import drawn
from nn512.graph import Graph, Shape, build, parse
from nn512.ir.decision import Decision
from nn512.passes.pipeline import PASSES, stages
from nn512.plan.laying import Laying, lay_out


def heard(graph: Graph, without: Collection[str] = ()) -> set[Decision]:
    """The decisions of all passes about a graph, or of all but some, and those about layouts."""
    decisions = set[Decision]()
    *_, (_, program) = stages(graph, without, decisions.add)
    lay_out(program, decided=decisions.add)
    return decisions


def test_every_decision_has_its_layers() -> None:
    assert set(ROWS) == set(DECISIONS)
    assert len(DECISIONS) == sum(len(one.decisions) for one in PASSES.values()) + len(Laying) > 60
    assert len({str(decision) for decision in DECISIONS}) == len(DECISIONS)
    assert all(one.decisions for one in PASSES.values())


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: f"{type(decision).__name__}.{decision.name}")
def test_layers_make_their_decision(decision: Decision) -> None:
    for row in ROWS[decision]:
        graph = build(grow(Shape(17, 6, 5), row))
        assert decision in heard(graph), graph.source.text


def test_campaigns_draw_nets_for_decisions() -> None:
    """Of the few of one seed, passes decide in most ways, as options leave them."""
    cases = drawn(0, 100)
    counts = Counter(
        decision for case in cases for decision in heard(parse(case.graph), case.options.get("without_passes", ()))
    )
    assert len(cases) == 100
    assert len(counts) > 0.8 * len(DECISIONS), set(DECISIONS) - set(counts)
