"""Bugs planted in emitted Winograd code are found: in constants of transforms, offsets of tiles, and at edges.

That threads do not share scratch is for `tests/cgen/test_threads.py`: natively a race may go well.
"""

from __future__ import annotations

import functools
import itertools

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.run.checks import LIGHT
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from fuzz.targets.mutants import Mutant, Operator, mutants, operators_named

NET = """\
Config
Input ToTensor=x Channels=19 Height={} Width={}
Conv FromTensor=x ToTensor=y ToChannels=21 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=y
"""

NETS = {
    # Tiles overhang by 3 rows and 1 column; transforms and products are steps of their own.
    "steps": (NET.format(9, 23), "winograd-4x4"),
    # Blocks of tiles, none of which overhangs.
    "blocks": (NET.format(22, 26), "winograd-2x2-fp16"),
}

MOST = 6
"""Places that are broken for an operator."""

PLANTED = operators_named(
    *("wrong constant", "shifted tile", "narrow edge", "wide edge", "unmasked edge", "overhang written")
)

DATA = (DataSeed("gaussian", 0), DataSeed("tiles", 0))


@functools.cache
def emitted(net: str) -> tuple[nn512.graph.Graph, Sources]:
    text, kernel = NETS[net]
    graph = nn512.parse(text)
    made = nn512.compile(graph, nn512.Options(force=(("", kernel),)))
    (layer,) = (layer for layer in made.plan.layers if layer.kernel == kernel)
    assert layer.arithmetic == "winograd"
    return graph, Sources(made.prefix, made.header, made.source, made.plan)


def problems(net: str, sources: Sources) -> list[str]:
    graph, _ = emitted(net)
    case = Case(NETS[net][0], data=DATA)
    report = check_sources(case, graph, sources, draw(case, graph), runner_for(), checks=LIGHT, strict=False)
    return [problem.kind for problem in report.problems]


def planted(net: str, operator: Operator) -> list[Mutant]:
    """The first places of an operator, and some of those behind them."""
    found = list(mutants(emitted(net)[1], (operator,)))
    return list(itertools.islice(found, 0, None, -(-len(found) // MOST))) if found else []


@pytest.mark.parametrize("net", NETS)
def test_unbroken_source_is_right(net: str) -> None:
    assert problems(net, emitted(net)[1]) == []


@pytest.mark.parametrize("operator", PLANTED, ids=lambda operator: operator.name)
def test_planted_bugs_are_found(operator: Operator) -> None:
    broken = [(net, mutant) for net in NETS for mutant in planted(net, operator)]
    assert broken
    for net, mutant in broken:
        assert problems(net, mutant.sources), str(mutant)
