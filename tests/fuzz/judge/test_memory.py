"""What a layer does to memory that is not its own is found, also where no output shows it."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest

import nn512
from fuzz.campaign.corpus import load_corpus_case
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.localize import localized
from fuzz.judge.memory import regions_of
from fuzz.judge.report import Report
from fuzz.mutation import nets
from fuzz.run.checks import LIGHT
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.options import Options
from nn512.plan.plan import Plan

NET = """\
Config
Input ToTensor=x Channels=19 Height=6 Width=5
Conv FromTensor=x ToTensor=c ToChannels=18 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Pooling FromTensor=c ToTensor=p Kind=Max2x2Stride2
Softmax FromTensor=p ToTensor=s
Add FromTensor1=s FromTensor2=p ToTensor=t
Output FromTensor=t
"""
CASE = Case(NET, optimisation="-Og", data=(DataSeed("gaussian", 0),))


@functools.cache
def emitted() -> Sources:
    made = nn512.compile(nn512.parse(NET), Options())
    return Sources(made.prefix, made.header, made.source, made.plan)


def plan() -> Plan:
    found = emitted().plan
    assert found is not None
    return found


def place_of(tensor: str) -> int:
    """Where a tensor begins, in floats."""
    return next(one.offset_bytes // 4 for one in plan().tensors if one.name == tensor)


def number_of(layer: str) -> int:
    return [one.name for one in plan().layers].index(layer)


def nothing_at(layer: str) -> int:
    """Where a tensor that was used up before a layer begins, and nothing stands any more."""
    regions = [region for region in regions_of(plan()) if region.layer == number_of(layer)]
    return next(
        place
        for place in map(place_of, ("x", "c"))
        if not any(region.offset <= place < region.offset + region.elements for region in regions)
    )


def planted(layer: str, code: str) -> Report:
    """What is found of code at the start of a layer's function, which has the engine's memory as `arena`."""
    head, function, rest = emitted().source.partition(f"NOINLINE void NN512_{layer}(const void")
    start, semicolon, end = rest.partition("= context;")
    assert semicolon
    code = f"{semicolon} float *const arena = ((NN512Engine *)(size_t)context)->arena; {code}"
    sources = replace(emitted(), source=head + function + start + code + end)
    graph = nn512.parse(NET)
    return check_sources(CASE, graph, sources, draw(CASE, graph), runner_for(), checks=LIGHT, strict=False)


@pytest.mark.usefixtures("runs_here")
def test_a_write_to_what_layers_behind_read() -> None:
    lane_without_a_channel = place_of("p") + 2 * 6 * 16 - 1
    report = localized(planted("s", f"arena[{lane_without_a_channel}] = 12345;"))
    assert [problem.kind for problem in report.problems] == ["arena"]
    assert "layer 4 writes 1 floats" in report.problems[0].detail
    assert "where there is p" in report.problems[0].detail
    assert report.place is not None
    assert report.place.layer.name == "s"


@pytest.mark.usefixtures("runs_here")
def test_a_write_to_what_nobody_reads_any_more() -> None:
    report = planted("t", f"arena[{nothing_at('t')}] = 1;")
    assert [problem.kind for problem in report.problems] == ["arena"]
    assert "where there is nothing" in report.problems[0].detail


@pytest.mark.usefixtures("runs_here")
def test_a_read_of_what_layers_before_have_left() -> None:
    report = planted("t", f"arena[{place_of('s')}] += arena[{nothing_at('t')}];")
    assert "uninitialized" in {problem.kind for problem in report.problems}


@pytest.mark.usefixtures("runs_here")
def test_what_is_right_is_no_fault() -> None:
    assert planted("t", f"arena[{place_of('t')}] = 1;").problems == ()


@pytest.mark.parametrize("net", nets(), ids=lambda path: path.stem)
def test_layers_read_nothing_that_was_not_written(net: Path) -> None:
    """Whatever a plan joins, views or works with: its regions have all that layers read, by the time they do."""
    case = load_corpus_case(net)
    made = nn512.compile(nn512.parse(case.graph), Options.from_dict(dict(case.options))).plan
    regions = regions_of(made)
    tensors = {tensor.name: tensor for tensor in made.tensors}
    for number, layer in enumerate(made.layers):
        kept: set[int] = set()
        for region in regions:
            if region.layer == number and region.is_kept:
                kept.update(range(region.offset, region.offset + region.elements))
        for name in layer.reads:
            first = tensors[name].offset_bytes // 4
            assert kept.issuperset(range(first, first + tensors[name].bytes // 4)), (layer.name, name)
